"""Behind the nginx of deploy/nginx callers speak TLS, and are told apart; its limits fit ours."""

import re
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from authapi.deadline import ANSWER_SECONDS
from authapi.server.connections import MAX_HEAD_BYTES
from authapi.server.limits import LIMITS
from authapi.web.bodies import MAX_BODY_BYTES
from authapi.web.requests import read_wait
from settings import SettingsError, load_settings
from tests.conftest import SECRET
from tests.proxies import NGINX, nginx_inside
from tests.serving import ROOT, Served, create_client, end, free_port, serve

TEXT = (ROOT / "deploy" / "nginx" / "auth-api.conf").read_text()
WRONG_KEY = "ck_0123456789abcdef_" + 43 * "0" + "00000000"
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@dataclass
class Front:
    """nginx before the service. Anyone may call from an address of their own."""

    url: str
    served: Served
    key: str
    trusted: ssl.SSLContext

    def client(self, address: str = "127.0.0.1") -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.trusted, local_address=address)
        return httpx.Client(base_url=self.url, transport=transport)


def with_port(text: str, port: int, certificate: Path) -> str:
    for shown, real in (
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("/etc/ssl/auth.example.pem", f"{certificate}.pem"),
        ("/etc/ssl/private/auth.example.key", f"{certificate}.key"),
    ):
        assert text.count(shown) == 1
        text = text.replace(shown, real)
    return text


def certify(certificate: Path) -> ssl.SSLContext:
    """A certificate of its own making. Returns what trusts it alone."""
    subject = "/CN=auth.example -addext subjectAltName=IP:127.0.0.1"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj"
    files = f"-keyout {certificate}.key -out {certificate}.pem"
    subprocess.run(
        f"{make} {subject} {files}".split(),
        check=True,
        capture_output=True,
        timeout=60,
    )
    return ssl.create_default_context(cafile=f"{certificate}.pem")


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    environ = {"SECRET_KEY": SECRET, "TRUSTED_PROXIES": "127.0.0.1"}
    key = create_client(tmp_path, **environ)
    trusted = certify(tmp_path / "auth.example")
    port = free_port()
    with serve(tmp_path, LOGIN_FAILURES_BY_ADDRESS="2/hour", **environ) as served:
        text = with_port(TEXT, port, tmp_path / "auth.example")
        assert text.count("127.0.0.1:8000") == 1
        text = text.replace("127.0.0.1:8000", served.url.removeprefix("http://"))
        url = f"https://127.0.0.1:{port}"
        with nginx_inside(tmp_path, text, url):
            yield Front(url, served, key, trusted)


@needs_nginx
def test_each_caller_has_a_limit_of_its_own_whatever_it_says(front: Front) -> None:
    def refuse(address: str) -> int:
        with front.client(address) as api:
            headers = {"X-Forwarded-For": "198.51.100.1"}
            return api.post("/login", json={"client_key": WRONG_KEY}, headers=headers).status_code

    assert [refuse("127.0.0.2") for _ in range(3)] == [401, 401, 429]
    assert refuse("127.0.0.3") == 401
    assert '"address":"127.0.0.2"' in front.served.console
    assert "198.51.100" not in front.served.console


@needs_nginx
def test_a_connection_to_the_service_is_kept(front: Front) -> None:
    def connections() -> set[int]:
        (port,) = re.findall(r":(\d+)$", front.served.url)
        found = psutil.Process(front.served.process.pid).net_connections("tcp")
        return {
            each.raddr.port
            for each in found
            if each.status == psutil.CONN_ESTABLISHED and each.laddr.port == int(port)
        }

    with front.client() as api:
        assert api.get("/healthz").status_code == 200
        kept = connections()
        assert len(kept) == 1
        for _ in range(5):
            assert api.post("/login", json={"client_key": front.key}).status_code == 200
        assert connections() == kept


@needs_nginx
def test_what_nginx_refuses_is_said_as_the_service_says_it(front: Front) -> None:
    with front.client() as api:

        def log_in(size: int) -> httpx.Response:
            body = f"client_key={front.key}&x="
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return api.post("/login", content=body.ljust(size, "x"), headers=headers)

        assert log_in(MAX_BODY_BYTES).status_code == 200
        large = log_in(MAX_BODY_BYTES + 1)
        direct = httpx.post(f"{front.served.url}/login", data={"x": MAX_BODY_BYTES * "x"})
        assert (large.status_code, large.json()["error"]) == (413, direct.json()["error"])
        end(front.served.process, seconds=20)
        gone = api.get("/me")
    assert (gone.status_code, gone.json()["error"]) == (503, "temporarily_unavailable")
    assert gone.headers["Retry-After"] == "1"
    for refused in (large, gone):
        assert refused.headers["Content-Type"] == "application/json"
        assert refused.headers["Cache-Control"] == "no-store"
        assert list(refused.json()) == list(direct.json())


@needs_nginx
def test_nothing_is_said_without_tls(front: Front) -> None:
    plain = front.url.replace("https", "http")
    assert httpx.get(f"{plain}/healthz").status_code == 400
    assert re.findall(r"^ *listen (.+);$", TEXT, re.MULTILINE) == ["443 ssl http2"]


def value(name: str, text: str = TEXT) -> str:
    found = re.findall(rf"^ *{name} (.+?);", text, re.MULTILINE)
    assert len(found) == 1, name
    return str(found[0])


def test_its_limits_fit_those_of_the_service() -> None:
    upstream, _, server = TEXT.partition("server {")
    assert int(value("keepalive_timeout", upstream).rstrip("s")) < LIMITS.wait_seconds
    assert value("client_max_body_size") == f"{MAX_BODY_BYTES // 1024}k"
    count, size = value("large_client_header_buffers").split()
    assert int(count) * int(size.rstrip("k")) * 1024 >= MAX_HEAD_BYTES
    for name in (
        *("client_header_timeout", "client_body_timeout", "send_timeout"),
        *("proxy_send_timeout", "proxy_read_timeout"),
    ):
        assert int(value(name, server).rstrip("s")) > LIMITS.wait_seconds > ANSWER_SECONDS


def test_it_waits_for_an_answer_that_waits_for_all_verifiers() -> None:
    """As long as the lease may be made, and longer than a poll may be held."""
    environ = {"SECRET_KEY": SECRET, "FEED_LEASE_SECONDS": "60"}
    lease_seconds = load_settings(environ).feed_lease_seconds
    with pytest.raises(SettingsError):
        load_settings(environ | {"FEED_LEASE_SECONDS": "60.1"})
    seconds = int(value("proxy_read_timeout").rstrip("s"))
    assert seconds > lease_seconds + ANSWER_SECONDS
    assert lease_seconds >= read_wait("5")
