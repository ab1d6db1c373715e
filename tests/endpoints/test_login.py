"""POST /login: a client key opens a session."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests import forge
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import NOW, Clock, Register, Registered
from tests.sqlite import opened

ENCODINGS: dict[str, Callable[[str], dict[str, Any]]] = {
    "JSON": lambda key: {"json": {"client_key": key}},
    "urlencoded form": lambda key: {"data": {"client_key": key}},
    "multipart form": lambda key: {"files": {"client_key": (None, key)}},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_client_key_opens_a_session(
    api: TestClient, registered: Registered, encoding: str
) -> None:
    response = api.post("/login", **ENCODINGS[encoding](registered.key))
    pair = assert_answer(response, 200)
    assert pair == {
        "access_token": pair["access_token"],
        "refresh_token": pair["refresh_token"],
        "user_id": registered.id,
        "token_type": "Bearer",
        "expires_in": 900,
        "refresh_expires_in": 604_800,
    }


def test_the_tokens_say_what_the_rfcs_name(login: Any, registered: Registered) -> None:
    pair = login()
    access, refresh = forge.claims_of(pair["access_token"]), forge.claims_of(pair["refresh_token"])
    assert forge.header_of(pair["access_token"]) == forge.header("at+jwt")
    assert forge.header_of(pair["refresh_token"]) == forge.header("rt+jwt")
    assert access == {
        "iss": "auth-api",
        "aud": "auth-api",
        "sub": registered.id,
        "sid": refresh["sid"],
        "jti": access["jti"],
        "key_id": registered.key_id,
        "scope": "",
        "era": 0,
        "iat": int(NOW),
        "exp": int(NOW) + 900,
        "client_id": registered.id,
    }
    del access["client_id"]  # which RFC 9068 wants of access tokens alone
    assert refresh == access | {"jti": refresh["jti"], "exp": int(NOW) + 604_800}
    assert access["jti"] != refresh["jti"]


def test_the_tokens_are_signed_with_hmac_sha256(login: Any) -> None:
    for name in ("access_token", "refresh_token"):
        token = login()[name]
        assert forge.sign(token.rpartition(".")[0]) == token


def test_each_login_opens_a_session_of_its_own(login: Any) -> None:
    first, second = (forge.claims_of(login()["access_token"]) for _ in range(2))
    assert first["sid"] != second["sid"]
    assert first["jti"] != second["jti"]


def test_a_login_writes_nothing(login: Any, database_file: Path) -> None:
    login()
    with opened(database_file) as database:
        assert database.execute("SELECT count(*) FROM revoked_jtis").fetchone() == (0,)


def _set(database_file: Path, statement: str) -> None:
    with opened(database_file) as database:
        assert database.execute(statement).rowcount == 1


DEAD_KEYS = {
    "expired": f"UPDATE client_keys SET expires_at = {int(NOW)}",
    "revoked": f"UPDATE client_keys SET revoked_at = {int(NOW)}",
    "of a disabled client": f"UPDATE clients SET disabled_at = {int(NOW)}",
    "deleted": "DELETE FROM client_keys",
}


@pytest.mark.parametrize("fault", DEAD_KEYS)
def test_a_dead_key_is_refused_like_an_unknown_one(
    api: TestClient, registered: Registered, database_file: Path, fault: str
) -> None:
    unknown = f"ck_{'0' * 16}_{'a' * 43}a9a9a9a9"
    expected = assert_refused(
        api.post("/login", json={"client_key": unknown}), 401, "invalid_client"
    )
    _set(database_file, DEAD_KEYS[fault])
    response = api.post("/login", json={"client_key": registered.key})
    assert assert_refused(response, 401, "invalid_client", registered.key) == expected


def test_a_key_that_expires_later_opens(
    api: TestClient, registered: Registered, database_file: Path
) -> None:
    _set(database_file, f"UPDATE client_keys SET expires_at = {int(NOW) + 1}")
    assert_answer(api.post("/login", json={"client_key": registered.key}), 200)


@pytest.mark.parametrize(
    "key", ["", "x", "ck_", "\0", "é" * 75, "a" * 15_000, " ", "ck_1_2", "null"]
)
def test_a_malformed_key_is_refused_like_an_unknown_one(api: TestClient, key: str) -> None:
    assert_refused(api.post("/login", json={"client_key": key}), 401, "invalid_client")


def test_a_mistyped_key_dies_at_its_checksum(api: TestClient, registered: Registered) -> None:
    mistyped = (
        registered.key[:-9] + ("a" if registered.key[-9] != "a" else "b") + registered.key[-8:]
    )
    assert_refused(api.post("/login", json={"client_key": mistyped}), 401, "invalid_client")


def test_a_stale_authorization_header_does_no_harm(api: TestClient, registered: Registered) -> None:
    headers = [("Authorization", "Bearer stale"), ("Authorization", "Bearer staler")]
    assert_answer(api.post("/login", json={"client_key": registered.key}, headers=headers), 200)


def test_each_client_gets_its_own_name(api: TestClient, register: Register, clock: Clock) -> None:
    for name in ("billing", "shipping"):
        client = register(name)
        pair = assert_answer(api.post("/login", json={"client_key": client.key}), 200)
        me = assert_answer(api.get("/me", headers=bearer(pair["access_token"])), 200)
        assert (me["name"], me["user_id"]) == (name, client.id)


@pytest.mark.parametrize("around", ["{}\n", "  {}\t", "\r\n{}\r\n"])
def test_white_space_around_a_pasted_key_is_no_part_of_it(
    api: TestClient, registered: Registered, around: str
) -> None:
    pasted = around.format(registered.key)
    assert_answer(api.post("/login", json={"client_key": pasted}), 200)
    assert_answer(api.post("/login", data={"client_key": pasted}), 200)
    torn = f"{registered.key[:20]} {registered.key[20:]}"
    assert_refused(api.post("/login", json={"client_key": torn}), 401, "invalid_client")
