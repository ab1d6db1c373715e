"""The audit trail tells every security event, hides every secret, and cannot be forged."""

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from authapi.credentials.client_keys import digest_of
from authapi.telemetry.logs import JSONFormatter
from tests import forge
from tests.checks import bearer
from tests.conftest import Clock, Registered, Trail

Login = Callable[[], dict[str, Any]]
WRONG = f"ck_{'0' * 16}_{'a' * 43}a9a9a9a9"


def of(pair: dict[str, Any]) -> dict[str, str]:
    claims = forge.claims_of(pair["access_token"])
    return {"client": claims["sub"], "key_id": claims["key_id"], "session": claims["sid"]}


def assert_event(line: dict[str, Any], event: str, **details: str) -> None:
    assert line | {"event": event, "level": "info", "address": "testclient"} | details == line
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", line["request_id"])


def test_every_event_of_a_session_is_told(
    api: TestClient, login: Login, clock: Clock, trail: Trail
) -> None:
    pair = login()
    (line,) = trail()
    assert_event(line, "login", **of(pair))
    body = {"refresh_token": pair["refresh_token"]}
    api.post("/refresh-token", json=body)
    (line,) = trail()
    assert_event(line, "refreshed", **of(pair))
    clock.advance(11)
    api.post("/refresh-token", json=body)
    reused, refused = trail()
    assert_event(reused, "refresh_reused", **of(pair))
    assert_event(refused, "refresh_refused", reason="reused")
    api.get("/me", headers=bearer(pair["access_token"]))
    (line,) = trail()
    assert_event(line, "token_refused", reason="ended session", session=of(pair)["session"])
    other = login()
    trail()
    api.post("/logout", headers=bearer(other["access_token"]))
    (line,) = trail()
    assert_event(line, "logged_out", **of(other))
    last = login()
    trail()
    api.post("/logout", headers=bearer(last["access_token"]), json={"everywhere": True})
    (line,) = trail()
    assert_event(line, "logged_out_everywhere", **of(last))


def test_every_refusal_is_told_with_its_reason(api: TestClient, trail: Trail) -> None:
    for key, reason in ((WRONG, "malformed key"), ("x", "malformed key")):
        api.post("/login", json={"client_key": key})
        (line,) = trail()
        assert_event(line, "login_refused", reason=reason)
    api.get("/me", headers=bearer(forge.token(iat=1000, exp=1900)))
    (line,) = trail()
    assert_event(line, "token_refused", reason="expired")
    api.post("/refresh-token", json={"refresh_token": "x"})
    (line,) = trail()
    assert_event(line, "refresh_refused", reason="unknown header")


def test_what_is_no_security_event_is_not_told(api: TestClient, trail: Trail) -> None:
    api.get("/healthz", headers=bearer("stale"))
    api.get("/nothing")
    api.get("/me")
    api.post("/login", content=b"x")
    assert trail() == []


SANE = ["a", "A-b_c.9", "x" * 64]
NOT_SANE = ["", "x" * 65, "a b", "a\tb", "é", '"', "{}", "a;b", "a/b", "a,b"]


@pytest.mark.parametrize("given", SANE)
def test_a_sane_request_id_is_taken_and_returned(api: TestClient, trail: Trail, given: str) -> None:
    response = api.post("/login", json={"client_key": "x"}, headers={"X-Request-ID": given})
    assert response.headers["x-request-id"] == trail()[0]["request_id"] == given


@pytest.mark.parametrize("given", NOT_SANE)
def test_another_request_id_is_replaced(api: TestClient, trail: Trail, given: str) -> None:
    headers = [(b"X-Request-ID", given.encode())]
    response = api.post("/login", json={"client_key": "x"}, headers=headers)
    made = response.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", made)
    assert trail()[0]["request_id"] == made


def test_two_request_ids_are_replaced(api: TestClient) -> None:
    response = api.get("/healthz", headers=[("X-Request-ID", "a"), ("X-Request-ID", "b")])
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", response.headers["x-request-id"])


def test_nothing_that_is_sent_makes_a_line_of_its_own(api: TestClient, trail: Trail) -> None:
    forged = '"}\n{"event":"login"'
    api.post("/login", json={"client_key": forged})
    api.post("/refresh-token", json={"refresh_token": forged})
    api.post("/logout", json={"access_token": forged})
    assert [line["event"] for line in trail()] == [
        "login_refused",
        "refresh_refused",
        "token_refused",
    ]


def test_no_key_token_or_digest_is_told(
    api: TestClient, registered: Registered, login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pair = login()
    headers = bearer(pair["access_token"])
    api.get("/me", headers=headers)
    api.post("/refresh-token", json={"refresh_token": pair["refresh_token"]})
    api.post("/logout", headers=headers)
    api.get("/me", headers=headers)
    api.post("/login", json={"client_key": registered.key[:-1] + "0"})
    ours = [record for record in caplog.records if record.name.startswith("auth")]
    assert ours
    told = "\n".join(JSONFormatter().format(record) for record in ours)
    for hidden in (registered.key, digest_of(registered.key), *pair.values()):
        if len(str(hidden)) > 30:
            assert str(hidden) not in told
            assert str(hidden)[-20:] not in told
