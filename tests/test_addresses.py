"""An address means the same however it came in, and what cannot be one is refused at the start."""

import pytest

from authapi.addresses import check_host, plain, read_proxies


@pytest.mark.parametrize(
    ("address", "is_read_as"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("::ffff:x", "::ffff:x"),
        ("::ffff:0:192.0.2.1", "::ffff:0:192.0.2.1"),
        ("::1", "::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_a_mapped_address_is_the_address_itself(address: str, is_read_as: str) -> None:
    assert plain(address) == is_read_as


@pytest.mark.parametrize(
    ("text", "is_read_as"),
    [
        ("", ""),
        ("127.0.0.1", "127.0.0.1"),
        (" 127.0.0.1 , 10.0.0.0/8,, ::1", "127.0.0.1,10.0.0.0/8,::1"),
        ("2001:db8::/32,unix", "2001:db8::/32,unix"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_proxies_are_addresses_and_networks(text: str, is_read_as: str) -> None:
    assert read_proxies(text) == is_read_as


@pytest.mark.parametrize(
    "text",
    ["localhost", "http://127.0.0.1", "127.0.0.1:8000", "[::1]", "10.0.0.0/33", "10.0.0.1/8", "*"],
)
def test_what_could_never_match_or_always_would_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"addresses") as raised:
        read_proxies(f"127.0.0.1,{text}")
    assert "localhost" not in str(raised.value)
    assert ("believe any caller" in str(raised.value)) == (text == "*")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0.0.0.0", "::", "::1", "localhost", "api.internal", "unix:/run/a.sock"]
)
def test_where_it_may_listen(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9000", "[::1]", "http://localhost", "localhost:80", "unix:a.sock", "unix:"]
)
def test_where_nobody_could_listen(host: str) -> None:
    with pytest.raises(ValueError, match=r"(as|or) unix:/run/auth-api\.sock"):
        check_host(host)
