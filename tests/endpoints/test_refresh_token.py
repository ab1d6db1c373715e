"""POST /refresh-token: a session goes on, once for each refresh token, and never longer."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests import forge
from tests.checks import assert_answer, bearer
from tests.conftest import NOW, Clock, Registered
from tests.sqlite import opened
from tests.steps import assert_not_refreshed, assert_session_is_over, refresh

Login = Callable[[], dict[str, Any]]
WEEK = 604_800


@pytest.fixture(params=[0, 60], ids=["asks the database", "judges from its copy"])
def max_age(request: pytest.FixtureRequest) -> float:
    age: float = request.param
    return age


@pytest.mark.parametrize("encoding", ["json", "data", "files"])
def test_a_refresh_token_is_spent_for_a_new_pair(
    api: TestClient, login: Login, clock: Clock, encoding: str
) -> None:
    old = login()
    clock.advance(100)
    value = (None, old["refresh_token"]) if encoding == "files" else old["refresh_token"]
    body: dict[str, Any] = {encoding: {"refresh_token": value}}
    new = assert_answer(api.post("/refresh-token", **body), 200)
    assert new == {
        "access_token": new["access_token"],
        "refresh_token": new["refresh_token"],
        "user_id": old["user_id"],
        "token_type": "Bearer",
        "expires_in": 900,
        "refresh_expires_in": WEEK - 100,
    }
    assert new["access_token"] != old["access_token"]
    assert new["refresh_token"] != old["refresh_token"]
    assert_answer(api.get("/me", headers=bearer(new["access_token"])), 200)


def test_rotation_never_extends_the_session(api: TestClient, login: Login, clock: Clock) -> None:
    pair = login()
    end = forge.claims_of(pair["refresh_token"])["exp"]
    for _ in range(7):
        clock.advance(WEEK / 8)
        pair = refresh(api, pair["refresh_token"])
        assert forge.claims_of(pair["refresh_token"])["exp"] == end
    clock.now = end - 1
    pair = refresh(api, pair["refresh_token"])
    assert (pair["expires_in"], pair["refresh_expires_in"]) == (1, 1)
    assert forge.claims_of(pair["access_token"])["exp"] == end


def test_a_successor_from_a_clock_that_is_behind_lives_as_long(
    api: TestClient, login: Login, clock: Clock
) -> None:
    pair = login()
    clock.advance(-5)
    pair = refresh(api, pair["refresh_token"])
    clock.advance(60)
    refresh(api, pair["refresh_token"])


def test_the_leeway_does_not_reopen_a_session(api: TestClient, login: Login, clock: Clock) -> None:
    pair = login()
    clock.now = forge.claims_of(pair["refresh_token"])["exp"]
    assert_not_refreshed(api, pair["refresh_token"])


def test_a_session_keeps_its_identity(api: TestClient, login: Login) -> None:
    old = login()
    new = refresh(api, old["refresh_token"])
    same = ("iss", "aud", "sub", "sid", "key_id", "scope", "era")
    for name in ("access_token", "refresh_token"):
        before, after = forge.claims_of(old[name]), forge.claims_of(new[name])
        assert [before[claim] for claim in same] == [after[claim] for claim in same]
        assert before["jti"] != after["jti"]


def test_a_repeat_within_the_grace_gets_the_same_refresh_token(
    api: TestClient, login: Login, clock: Clock
) -> None:
    pair = login()
    first = refresh(api, pair["refresh_token"])
    clock.advance(9.9)
    second = refresh(api, pair["refresh_token"])
    assert second["refresh_token"] == first["refresh_token"]
    for access_token in (first["access_token"], second["access_token"]):
        assert_answer(api.get("/me", headers=bearer(access_token)), 200)


def test_a_repeat_after_the_grace_is_theft_and_ends_the_session(
    api: TestClient, login: Login, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    old, other = login(), login()
    new = refresh(api, old["refresh_token"])
    clock.advance(10.1)
    with caplog.at_level(logging.INFO):
        assert_not_refreshed(api, old["refresh_token"])
    assert_session_is_over(api, old, new)
    assert_answer(api.get("/me", headers=bearer(other["access_token"])), 200)
    sid = forge.claims_of(old["access_token"])["sid"]
    (reused,) = [line for line in caplog.records if line.getMessage() == "refresh_reused"]
    assert (
        vars(reused)["details"] | {"client": old["user_id"], "session": sid}
        == vars(reused)["details"]
    )
    assert old["refresh_token"] not in caplog.text


def test_a_token_two_generations_old_is_theft_even_within_the_grace(
    api: TestClient, login: Login
) -> None:
    first = login()
    second = refresh(api, first["refresh_token"])
    third = refresh(api, second["refresh_token"])
    assert_not_refreshed(api, first["refresh_token"])
    assert_session_is_over(api, first, second, third)


def test_a_session_over_is_refused_without_another_row(
    api: TestClient, login: Login, database_file: Path
) -> None:
    pair = login()
    api.post("/logout", headers=bearer(pair["access_token"]))
    assert_not_refreshed(api, pair["refresh_token"])
    with opened(database_file) as database:
        rows = database.execute(
            "SELECT reason, expires_at - issued_until FROM revoked_jtis, identity"
        ).fetchall()
    assert rows == [("logged_out", WEEK)]


def test_the_row_of_a_spent_token_lives_as_long_as_the_token(
    api: TestClient, login: Login, clock: Clock, database_file: Path
) -> None:
    pair = login()
    clock.advance(1000.5)
    refresh(api, pair["refresh_token"])
    claims = forge.claims_of(pair["refresh_token"])
    with opened(database_file) as database:
        rows = database.execute("SELECT * FROM revoked_jtis").fetchall()
    assert rows == [(claims["jti"], "spent", NOW + 1000.5, claims["exp"], None, None, None)]


CLOSED = {
    "a disabled client": "UPDATE clients SET disabled_at = 1",
    "a revoked key": "UPDATE client_keys SET revoked_at = 1",
    "an expired key": f"UPDATE client_keys SET expires_at = {int(NOW)}",
    "a deleted key": "DELETE FROM client_keys",
}


@pytest.mark.parametrize("reason", CLOSED)
@pytest.mark.parametrize("within_grace", [False, True])
def test_a_session_does_not_go_on_for(
    api: TestClient, login: Login, database_file: Path, reason: str, within_grace: bool
) -> None:
    pair = login()
    if within_grace:
        refresh(api, pair["refresh_token"])
    with opened(database_file) as database:
        assert database.execute(CLOSED[reason]).rowcount == 1
    assert_not_refreshed(api, pair["refresh_token"])


def test_an_access_token_is_no_refresh_token(api: TestClient, login: Login) -> None:
    assert_not_refreshed(api, login()["access_token"])


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "\0", "é.é.é", forge.token("rt+jwt", "k" * 32)]
)
def test_what_is_no_token_of_ours_is_refused(api: TestClient, token: str) -> None:
    assert_not_refreshed(api, token)


def test_a_forged_token_of_a_stranger_does_not_end_a_session(api: TestClient, login: Login) -> None:
    pair = login()
    claims = forge.claims_of(pair["refresh_token"])
    assert_not_refreshed(api, forge.token("rt+jwt", "k" * 32, **claims))
    refresh(api, pair["refresh_token"])


def test_a_stale_authorization_header_does_no_harm(api: TestClient, login: Login) -> None:
    body = {"refresh_token": login()["refresh_token"]}
    assert_answer(api.post("/refresh-token", json=body, headers=bearer("stale")), 200)


def test_a_replay_is_remembered_by_the_next_process(
    api: TestClient, login: Login, registered: Registered, restart: Callable[[], TestClient]
) -> None:
    old = login()
    new = refresh(api, old["refresh_token"])
    again = restart()
    assert refresh(again, old["refresh_token"])["refresh_token"] == new["refresh_token"]
    refresh(again, new["refresh_token"])
    assert_not_refreshed(again, old["refresh_token"])
    assert_session_is_over(again, old, new)
