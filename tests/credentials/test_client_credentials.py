"""One way of showing who a client is counts, and every other text is refused by name."""

from base64 import b64encode

import pytest

from authapi.credentials.assertions import ASSERTION_TYPE
from authapi.credentials.client_credentials import read_credentials, read_proof
from authapi.errors import InvalidRequest, Refusal, RefusedClient

NOTHING = dict.fromkeys(("client_id", "client_secret", "client_assertion", "client_assertion_type"))
ASSERTED = {"client_assertion": "a.b.c", "client_assertion_type": ASSERTION_TYPE}


def basic(text: str) -> bytes:
    return b"Basic " + b64encode(text.encode())


@pytest.mark.parametrize(
    ("headers", "payload", "shown"),
    [
        ([basic("id:key")], {}, ("id", "key", None)),
        ([basic("id:key").replace(b"Basic ", b"bASIC   ")], {}, ("id", "key", None)),
        ([basic("id:key")], {"client_id": "id"}, ("id", "key", None)),
        ([basic("i%64:k+y:%3A")], {}, ("id", "k y::", None)),
        ([], {"client_id": "id", "client_secret": "key"}, ("id", "key", None)),
        ([b"Bearer x"], {"client_id": "id", "client_secret": "key"}, ("id", "key", None)),
        ([], ASSERTED, (None, "", "a.b.c")),
        ([], ASSERTED | {"client_id": "id"}, ("id", "", "a.b.c")),
    ],
)
def test_one_way_is_enough(
    headers: list[bytes], payload: dict[str, str], shown: tuple[str | None, ...]
) -> None:
    assert read_credentials(headers, NOTHING | payload) == shown


@pytest.mark.parametrize(
    ("headers", "payload", "refusal", "field"),
    [
        ([basic("id:key")] * 2, {}, InvalidRequest, None),
        ([basic("id:key")], {"client_secret": "key"}, InvalidRequest, None),
        ([basic("id:key")], ASSERTED, InvalidRequest, None),
        ([], ASSERTED | {"client_secret": "key"}, InvalidRequest, None),
        ([], ASSERTED | {"client_assertion_type": "x"}, InvalidRequest, "client_assertion_type"),
        ([], {"client_id": "id"}, RefusedClient, None),
        ([b"Bearer x"], {}, RefusedClient, None),
        ([], {"client_secret": "key"}, InvalidRequest, "client_id"),
        ([basic("id")], {}, InvalidRequest, None),
        ([basic("id:key")], {"client_id": "another"}, InvalidRequest, None),
        ([b"Basic \xff"], {}, InvalidRequest, None),
        ([b"Basic " + b64encode(b"\xff:key")], {}, InvalidRequest, None),
        ([b"Basic a"], {}, InvalidRequest, None),
    ],
)
def test_every_other_is_refused(
    headers: list[bytes], payload: dict[str, str], refusal: type[Refusal], field: str | None
) -> None:
    with pytest.raises(refusal) as caught:
        read_credentials(headers, NOTHING | payload)
    assert list(caught.value.fields or {}) == ([field] if field else [])


def test_a_proof_is_a_key_or_an_assertion() -> None:
    assert read_proof("id", {"client_key": "key"}) == ("id", "key", None)
    assert read_proof("id", {"client_assertion": "a.b.c"}) == ("id", "", "a.b.c")
    for wrong in ({}, {"client_key": "key", "client_assertion": "a.b.c"}):
        with pytest.raises(InvalidRequest):
            read_proof("id", wrong)
