"""POST /logout: a session is over at once, its refresh token included."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests import forge
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import NOW, Clock, Register
from tests.sqlite import opened
from tests.steps import assert_alive, assert_session_is_over, log_out, refresh

Login = Callable[[], dict[str, str]]


@pytest.fixture(params=[0, 60], ids=["asks the database", "judges from its copy"])
def max_age(request: pytest.FixtureRequest) -> float:
    age: float = request.param
    return age


WAYS: dict[str, Callable[[str], dict[str, Any]]] = {
    "bearer": lambda token: {"headers": bearer(token)},
    "bearer and an empty object": lambda token: {"headers": bearer(token), "json": {}},
    "JSON": lambda token: {"json": {"access_token": token}},
    "urlencoded form": lambda token: {"data": {"access_token": token}},
    "multipart form": lambda token: {"files": {"access_token": (None, token)}},
}


@pytest.mark.parametrize("way", WAYS)
def test_logout_ends_the_whole_session(api: TestClient, login: Login, way: str) -> None:
    first, other = login(), login()
    second = refresh(api, first["refresh_token"])
    response = api.post("/logout", **WAYS[way](first["access_token"]))
    assert assert_answer(response, 200) == {"message": "Logged out."}
    assert_session_is_over(api, first, second)
    assert_alive(api, other)


def test_a_repeated_logout_is_answered_like_the_first(api: TestClient, login: Login) -> None:
    token = login()["access_token"]
    log_out(api, token)
    log_out(api, token)


def test_a_session_can_be_ended_after_its_access_token_expired(
    api: TestClient, login: Login, clock: Clock
) -> None:
    pair = login()
    clock.advance(1000)
    log_out(api, pair["access_token"])
    assert_session_is_over(api, pair)


def test_everywhere_ends_every_session_of_the_client_alone(
    api: TestClient, login: Login, register: Register
) -> None:
    mine = [login(), login()]
    key = register("somebody-else").key
    theirs = assert_answer(api.post("/login", json={"client_key": key}), 200)
    log_out(api, mine[0]["access_token"], everywhere=True)
    assert_session_is_over(api, *mine)
    assert_alive(api, theirs)


def test_a_login_right_after_everywhere_works(api: TestClient, login: Login, clock: Clock) -> None:
    for step in (0, 0, -5):  # in the same instant, and with a clock that was set back
        clock.advance(step)
        old = login()
        log_out(api, old["access_token"], everywhere=True)
        new = login()
        assert_session_is_over(api, old)
        assert_alive(api, new)


def test_a_repeat_of_everywhere_spares_the_sessions_since(api: TestClient, login: Login) -> None:
    old = login()
    log_out(api, old["access_token"], everywhere=True)
    new = login()
    log_out(api, old["access_token"], everywhere=True)
    assert_alive(api, new)


def test_everywhere_is_refused_to_a_session_that_another_has_ended(
    api: TestClient, login: Login
) -> None:
    """A 200 would say that all are ended, which the sessions since are not."""
    one, other = login(), login()
    log_out(api, one["access_token"], everywhere=True)
    since = login()
    response = api.post("/logout", headers=bearer(other["access_token"]), json={"everywhere": True})
    assert_refused(response, 401, "invalid_token")
    log_out(api, one["access_token"], everywhere=True)
    assert_alive(api, since)


def test_a_late_repeat_of_everywhere_is_answered_like_the_first(
    api: TestClient, login: Login, clock: Clock
) -> None:
    old = login()
    log_out(api, old["access_token"], everywhere=True)
    clock.advance(1000)
    log_out(api, old["access_token"], everywhere=True)


def test_a_dead_token_does_not_end_other_sessions(
    api: TestClient, login: Login, clock: Clock
) -> None:
    """Whoever finds an old token in a log must not be able to throw the client out."""
    old, other = login(), login()
    log_out(api, old["access_token"])
    response = api.post("/logout", headers=bearer(old["access_token"]), json={"everywhere": True})
    assert_refused(response, 401, "invalid_token")
    assert_alive(api, other)
    expired = login()["access_token"]
    clock.advance(1000)
    response = api.post("/logout", headers=bearer(expired), json={"everywhere": True})
    assert_refused(response, 401, "invalid_token")


def test_without_a_token_nobody_is_logged_out(api: TestClient) -> None:
    assert_refused(api.post("/logout"), 401, "missing_token")
    assert_refused(api.post("/logout", json={"everywhere": True}), 401, "missing_token")


@pytest.mark.parametrize("token", ["no-token", "a.b.c", forge.token(secret="k" * 32)])
def test_a_token_that_we_did_not_sign_is_refused(api: TestClient, token: str) -> None:
    assert_refused(api.post("/logout", headers=bearer(token)), 401, "invalid_token", token)
    assert_refused(api.post("/logout", json={"access_token": token}), 401, "invalid_token")


def test_a_refresh_token_is_no_access_token(api: TestClient, login: Login) -> None:
    pair = login()
    response = api.post("/logout", headers=bearer(pair["refresh_token"]))
    assert_refused(response, 401, "invalid_token")
    assert_alive(api, pair)


def test_a_token_comes_in_one_way_only(api: TestClient, login: Login) -> None:
    token = login()["access_token"]
    response = api.post("/logout", headers=bearer(token), json={"access_token": token})
    assert_refused(response, 400, "invalid_request", token)


def test_two_authorization_headers_are_malformed(api: TestClient, login: Login) -> None:
    header = ("Authorization", f"Bearer {login()['access_token']}")
    assert_refused(api.post("/logout", headers=[header, header]), 400, "invalid_request")


def test_what_was_logged_out_stays_so_in_the_next_process(
    api: TestClient, login: Login, clock: Clock, restart: Callable[[], TestClient]
) -> None:
    pair, other, everywhere = login(), login(), login()
    log_out(api, pair["access_token"])
    api = restart()
    assert_session_is_over(api, pair)
    assert_alive(api, other)
    log_out(api, everywhere["access_token"], everywhere=True)
    assert_session_is_over(restart(), pair, other, everywhere)


def test_a_row_outlives_a_token_from_a_clock_that_is_ahead(
    api: TestClient, login: Login, clock: Clock, database_file: Path
) -> None:
    token = login()["access_token"]
    clock.advance(-3600)
    log_out(api, token)
    with opened(database_file) as database:
        rows = database.execute("SELECT expires_at FROM revoked_jtis").fetchall()
        ((issued_until,),) = database.execute("SELECT issued_until FROM identity").fetchall()
    assert rows == [(issued_until + 604_800,)]
    assert issued_until >= int(NOW)


def test_a_row_outlives_every_token_that_it_ends(
    api: TestClient, login: Login, clock: Clock, database_file: Path
) -> None:
    pair = login()
    clock.advance(500)
    log_out(api, pair["access_token"])
    log_out(api, login()["access_token"], everywhere=True)
    with opened(database_file) as database:
        rows = database.execute(
            "SELECT expires_at FROM revoked_jtis ORDER BY revoked_at"
        ).fetchall()
        ((issued_until,),) = database.execute("SELECT issued_until FROM identity").fetchall()
    # The second one after another login, which may have been at any time until then.
    assert rows == [(int(NOW) + 500 + 604_800,), (issued_until + 604_800,)]
    assert issued_until >= int(NOW) + 500
