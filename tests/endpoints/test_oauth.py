"""The OAuth endpoints: what a session that they begin may do, and how it ends."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.credentials.client_keys import new_client_key
from authapi.engines.database import Database
from authapi.store import client_keys
from settings import Settings
from tests import forge
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import NOW, Clock, Register, Registered
from tests.counting import CountingDatabase
from tests.inline import Client
from tests.sqlite import opened
from tests.steps import assert_not_refreshed, log_out, refresh

Login = Callable[[], dict[str, str]]


@pytest.fixture(params=[0, 60], ids=["asks the database", "judges from its copy"])
def max_age(request: pytest.FixtureRequest) -> float:
    age: float = request.param
    return age


def ask(api: TestClient, client: Registered, path: str, **form: str) -> Any:
    return api.post(f"/oauth/{path}", data=form, auth=(client.id, client.key))


def grant(api: TestClient, client: Registered, **form: str) -> dict[str, Any]:
    response = ask(api, client, "token", grant_type="client_credentials", **form)
    answer: dict[str, Any] = assert_answer(response, 200)
    return answer


def go_on(api: TestClient, client: Registered, token: str) -> Any:
    return ask(api, client, "token", grant_type="refresh_token", refresh_token=token)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
    ],
)
def test_no_other_grant_and_none_without_its_token_is_known(
    api: TestClient, registered: Registered, form: dict[str, str], error: str
) -> None:
    assert_refused(ask(api, registered, "token", **form), 400, error)


def test_a_token_is_granted_without_a_refresh_token(
    api: TestClient, registered: Registered
) -> None:
    response = ask(api, registered, "token", grant_type="client_credentials")
    answer = assert_answer(response, 200)
    assert response.headers["pragma"] == "no-cache"
    assert answer == {
        "access_token": answer["access_token"],
        "token_type": "Bearer",
        "expires_in": 900,
    }
    claims = forge.claims_of(answer["access_token"])
    assert claims["client_id"] == claims["sub"] == registered.id
    assert assert_answer(api.get("/me", headers=bearer(answer["access_token"])), 200)[
        "user_id"
    ] == (registered.id)


def test_a_session_without_a_refresh_token_is_logged_out_as_any(
    api: TestClient, registered: Registered
) -> None:
    first, other = grant(api, registered), grant(api, registered)
    log_out(api, first["access_token"])
    response = api.get("/me", headers=bearer(first["access_token"]))
    assert_refused(response, 401, "invalid_token")
    assert_answer(api.get("/me", headers=bearer(other["access_token"])), 200)


def test_the_end_of_a_key_is_told(
    api: TestClient, registered: Registered, settings: Settings
) -> None:
    with opened(settings.database_url.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE client_keys SET expires_at = ?", (int(NOW) + 60,))
    assert grant(api, registered)["key_expires_at"] == int(NOW) + 60


def test_a_login_is_refreshed_at_the_token_endpoint(
    api: TestClient, registered: Registered, login: Login
) -> None:
    old = login()
    new = assert_answer(go_on(api, registered, old["refresh_token"]), 200)
    assert new == {
        "access_token": new["access_token"],
        "refresh_token": new["refresh_token"],
        "token_type": "Bearer",
        "expires_in": 900,
        "refresh_expires_in": 604_800,
    }
    assert refresh(api, new["refresh_token"])["refresh_token"] != old["refresh_token"]


def test_a_refresh_by_another_client_spends_nothing(
    api: TestClient, register: Register, login: Login
) -> None:
    pair = login()
    refused = go_on(api, register("other"), pair["refresh_token"])
    assert_refused(refused, 400, "invalid_grant", pair["refresh_token"])
    refresh(api, refresh(api, pair["refresh_token"])["refresh_token"])


def test_a_spent_refresh_token_is_theft_here_too(
    api: TestClient, registered: Registered, login: Login, clock: Clock
) -> None:
    old = login()
    new = assert_answer(go_on(api, registered, old["refresh_token"]), 200)
    clock.advance(11)
    assert_refused(go_on(api, registered, old["refresh_token"]), 400, "invalid_grant")
    assert_not_refreshed(api, new["refresh_token"])
    assert_refused(api.get("/me", headers=bearer(new["access_token"])), 401, "invalid_token")


def test_a_refresh_token_of_a_session_that_is_over_is_refused(
    api: TestClient, registered: Registered, login: Login, clock: Clock
) -> None:
    pair = login()
    clock.advance(604_800)
    assert_refused(go_on(api, registered, pair["refresh_token"]), 400, "invalid_grant")


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_to_revoke_either_token_ends_the_session(
    api: TestClient, registered: Registered, login: Login, which: str
) -> None:
    pair, other = login(), login()
    for _ in range(2):  # a repeat is answered like the first
        assert assert_answer(ask(api, registered, "revoke", token=pair[which]), 200) == {}
    assert_refused(api.get("/me", headers=bearer(pair["access_token"])), 401, "invalid_token")
    assert_not_refreshed(api, pair["refresh_token"])
    assert_refused(go_on(api, registered, pair["refresh_token"]), 400, "invalid_grant")
    assert_answer(api.get("/me", headers=bearer(other["access_token"])), 200)


def test_an_expired_token_still_ends_its_session(
    api: TestClient, registered: Registered, login: Login, clock: Clock
) -> None:
    pair = login()
    clock.advance(1000)
    assert_answer(ask(api, registered, "revoke", token=pair["access_token"]), 200)
    assert_not_refreshed(api, pair["refresh_token"])


def test_the_row_of_a_revoked_refresh_token_asks_no_longer_of_copies_than_access_tokens_live(
    api: TestClient, registered: Registered, login: Login, settings: Settings
) -> None:
    ask(api, registered, "revoke", token=login()["refresh_token"])
    with opened(settings.database_url.removeprefix("sqlite:///")) as database:
        (until,) = database.execute(
            "SELECT access_expires_at - issued_until FROM revoked_jtis, identity"
        ).fetchone()
    assert until == 900


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_nobody_revokes_what_is_another_clients(
    api: TestClient, register: Register, login: Login, which: str
) -> None:
    pair = login()
    response = ask(api, register("other"), "revoke", token=pair[which])
    assert_refused(response, 400, "invalid_grant", pair[which])
    assert_answer(api.get("/me", headers=bearer(pair["access_token"])), 200)
    refresh(api, pair["refresh_token"])


def introspect(api: TestClient, client: Registered, token: str) -> Any:
    return assert_answer(ask(api, client, "introspect", token=token), 200)


INACTIVE = {"active": False}


def test_an_access_token_is_active_until_its_session_ends(
    api: TestClient, registered: Registered, register: Register, login: Login
) -> None:
    pair, asker = login(), register("an API")
    claims = forge.claims_of(pair["access_token"])
    same = ("iss", "aud", "sub", "client_id", "sid", "jti", "iat", "exp")
    assert introspect(api, asker, pair["access_token"]) == {
        "active": True,
        "token_type": "Bearer",
        **{name: claims[name] for name in same},
    }
    assert introspect(api, asker, pair["refresh_token"]) == INACTIVE
    log_out(api, pair["access_token"])
    assert introspect(api, asker, pair["access_token"]) == INACTIVE
    assert introspect(api, registered, pair["access_token"]) == INACTIVE


def test_a_token_is_active_until_its_time_is_over(
    api: TestClient, registered: Registered, login: Login, clock: Clock
) -> None:
    token = login()["access_token"]
    clock.advance(909)
    assert introspect(api, registered, token)["active"]
    clock.advance(1)
    assert introspect(api, registered, token) == INACTIVE


# The audit trail, and what is counted


@contextmanager
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """The events meanwhile, with their details."""
    events: list[dict[str, Any]] = []
    caplog.clear()
    with caplog.at_level(logging.INFO, "auth.audit"):
        yield events
    events += [
        {"event": line.getMessage(), **vars(line)["details"]}
        for line in caplog.records
        if line.name == "auth.audit"
    ]


def test_it_is_told_as_its_kin_at_the_five(
    api: TestClient,
    registered: Registered,
    register: Register,
    login: Login,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pair, other = login(), register("other")
    with told(caplog) as events:
        token = grant(api, registered)["access_token"]
        go_on(api, registered, pair["refresh_token"])
        go_on(api, other, pair["refresh_token"])
        ask(api, other, "revoke", token=token)
        ask(api, registered, "revoke", token=token)
        introspect(api, other, token)
        ask(api, replace(registered, key=other.key), "introspect", token=token)
    mine, old = ({"client": registered.id, "key_id": registered.key_id} for _ in range(2))
    mine |= {"session": forge.claims_of(token)["sid"]}
    old |= {"session": forge.claims_of(pair["access_token"])["sid"]}
    wanted: list[dict[str, Any]] = [
        {"event": "login", **mine},
        {"event": "refreshed", **old},
        {"event": "refresh_refused", "client": other.id, "session": old["session"]},
        {"event": "token_refused", "client": other.id, "session": mine["session"]},
        {"event": "logged_out", **mine},
        {"event": "token_refused", "client": registered.id, "session": mine["session"]},
        {"event": "login_refused", "client": other.id, "key_id": other.key_id},
    ]
    assert len(events) == len(wanted)
    for event, want in zip(events, wanted, strict=True):
        assert event | want == event
        assert event["request_id"]
    assert [event["reason"] for event in events if "reason" in event] == [
        "of another client",
        "of another client",
        "ended session",
        "key of another client",
    ]


def test_each_use_of_a_key_counts(
    api: TestClient, registered: Registered, login: Login, settings: Settings
) -> None:
    pair = login()
    token = grant(api, registered)["access_token"]
    go_on(api, registered, pair["refresh_token"])
    introspect(api, registered, token)
    ask(api, registered, "revoke", token=token)
    api.__exit__()  # which writes what was counted
    with opened(settings.database_url.removeprefix("sqlite:///")) as database:
        assert database.execute("SELECT uses, last_used_at FROM client_keys").fetchall() == [
            (5, int(NOW))
        ]


def test_a_refresh_by_another_key_of_the_client_counts_for_both(
    api: TestClient, registered: Registered, login: Login, settings: Settings
) -> None:
    pair, other = login(), new_client_key()

    async def add() -> None:
        async with Database(settings.database_url) as database:
            await client_keys.add_key(database, registered.id, other, int(NOW))

    asyncio.run(add())
    by_other = replace(registered, key=other.text)
    assert_answer(go_on(api, by_other, pair["refresh_token"]), 200)
    api.__exit__()  # which writes what was counted
    with opened(settings.database_url.removeprefix("sqlite:///")) as database:
        uses = dict(database.execute("SELECT id, uses FROM client_keys").fetchall())
    assert uses == {registered.key_id: 2, other.id: 1}


# Limits


@pytest.fixture
def limited(settings: Settings, registered: Registered, clock: Clock) -> Iterator[TestClient]:
    limits = {"login_failures_by_address": "3/minute", "logins_by_client": "4/minute"}
    with Client(create_app(replace(settings, **limits), clock)) as api:  # type: ignore[arg-type]  # each is a text
        yield api


def test_wrong_secrets_are_counted_together_whatever_endpoint_they_are_tried_at(
    limited: TestClient, registered: Registered
) -> None:
    wrong = replace(registered, key=registered.key[:-1])
    for path in ("introspect", "revoke", "introspect"):
        assert ask(limited, wrong, path, token="x").status_code == 401
    for response in (
        ask(limited, registered, "token", grant_type="client_credentials"),
        ask(limited, registered, "revoke", token="x"),
        ask(limited, registered, "introspect", token="x"),
        limited.post("/login", json={"client_key": registered.key}),
    ):
        assert_refused(response, 429, "too_many_failures")
        assert 0 < int(response.headers["retry-after"]) <= 60


def test_who_shows_nothing_has_guessed_nothing(limited: TestClient, registered: Registered) -> None:
    for _ in range(9):
        response = limited.post("/oauth/token", data={"grant_type": "client_credentials"})
        assert response.status_code == 401
    grant(limited, registered)


def test_sessions_of_a_client_are_limited(limited: TestClient, registered: Registered) -> None:
    for _ in range(4):
        grant(limited, registered)
    response = ask(limited, registered, "token", grant_type="client_credentials")
    assert_refused(response, 429, "too_many_logins")


# What it costs


def test_questions_are_as_few_as_at_the_five(
    settings: Settings, registered: Registered, clock: Clock
) -> None:
    database = CountingDatabase(settings.database_url)
    fresh = replace(settings, revocation_max_age_seconds=60)
    with Client(create_app(fresh, clock, lambda url: database)) as api:
        token = grant(api, registered)["access_token"]
        database.asked.clear()
        grant(api, registered)
        for _ in range(3):
            assert introspect(api, registered, token)["active"]
        assert database.asked == []
        ask(api, registered, "revoke", token=token)
        assert len(database.asked) == 1
        introspect(api, registered, token)
        ask(api, registered, "revoke", token="x")
        assert len(database.asked) == 1
