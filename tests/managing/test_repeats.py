"""A lost answer makes no second client: who repeats a request gets its answer, and nobody else."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.clocks import SETTLE_SECONDS, Clocks
from authapi.engines.database import Database
from authapi.managing.repeats import WINDOW_SECONDS
from authapi.revocation.purging import purge_when_settled
from settings import Settings
from tests.checks import assert_answer, assert_refused
from tests.conftest import SECRET, Clock, Trail
from tests.inline import Client
from tests.managing.conftest import ROOT_SCOPES, Admin, Administer, log_in, on_one_engine

LESSER = "admin:read admin:write reports:read"
ONCE = "8e03978e-40d5-43dd-bc93-6894a57f9324"
BODY: dict[str, Any] = {"name": "billing"}


def make(admin: Admin, body: dict[str, Any] = BODY, key: str = ONCE) -> Any:
    return admin.call("POST", "/admin/clients", body, Idempotency_Key=key)


def rows(settings: Settings, table: str) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        async with Database(settings.database_url) as database:
            return [dict(row) for row in await database.fetch_all(f"SELECT * FROM {table}")]

    return asyncio.run(read())


def test_a_repeat_gets_the_same_answer_and_makes_nothing(
    root: Admin, api: TestClient, trail: Trail
) -> None:
    first, again = make(root), make(root, key=f'"{ONCE}"')
    assert assert_answer(first, 201) == assert_answer(again, 201)
    assert first.headers["location"] == again.headers["location"]
    log_in(api, again.json()["client_key"])
    assert len(root.get("/admin/clients")["clients"]) == 2
    assert [line["event"] for line in trail()].count("client_created") == 1


@pytest.mark.parametrize("path", ["keys", "keys/rotate"])
def test_a_repeat_gives_no_second_key(root: Admin, api: TestClient, path: str) -> None:
    place = f"/admin/clients/{assert_answer(make(root), 201)['user_id']}"
    answers = [
        root.call("POST", f"{place}/{path}", {}, Idempotency_Key="another-request-1")
        for _ in range(3)
    ]
    assert len({answer.text for answer in answers}) == 1
    assert len(root.get(f"{place}/keys")["keys"]) == 2
    log_in(api, answers[2].json()["client_key"])


def test_one_key_is_for_one_request(root: Admin) -> None:
    client = assert_answer(make(root), 201)["user_id"]
    for body in ({"name": "other"}, BODY | {"scopes": "reports:read"}):
        assert_refused(make(root, body), 422, "idempotency_key_reused", ONCE)
    assert_answer(make(root, BODY | {"scopes": ""}), 201)  # which is what was meant before
    for path in ("keys", "keys/rotate"):
        response = root.call("POST", f"/admin/clients/{client}/{path}", {}, Idempotency_Key=ONCE)
        assert_refused(response, 422, "idempotency_key_reused", ONCE)
    assert len(root.get("/admin/clients")["clients"]) == 2
    assert len(root.get(f"/admin/clients/{client}/keys")["keys"]) == 1


def test_it_is_the_callers_own(root: Admin, administer: Administer) -> None:
    mine = assert_answer(make(root), 201)
    other = administer("other")
    assert_refused(make(other), 409, "name_taken", mine["client_key"])
    theirs = assert_answer(make(other, {"name": "theirs"}), 201)
    assert theirs["user_id"] != mine["user_id"]


@pytest.mark.parametrize("call", ["create", "add", "rotate"])
@pytest.mark.parametrize("way", ["stripped", "narrower", "raised", "deleted"])
def test_a_repeat_is_answered_to_who_might_do_it_now(
    root: Admin, administer: Administer, api: TestClient, call: str, way: str
) -> None:
    """The answer holds a key, which opens what the client may do today."""
    full = administer("full")
    body = {"name": "x", "scopes": "reports:write"}
    path = "/admin/clients"
    if call != "create":
        client, end = root.make(**body)["user_id"], {"add": "keys", "rotate": "keys/rotate"}[call]
        path, body = f"{path}/{client}/{end}", {}

    def ask() -> Any:
        return full.call("POST", path, body, Idempotency_Key=ONCE)

    client = assert_answer(ask(), 201)["user_id"]
    if way == "stripped":
        root.change(full.id, scopes=LESSER)
    if way == "raised":
        over = administer("over", f"{ROOT_SCOPES} x")
        over.change(client, scopes="reports:write x")
    if way == "deleted":
        assert_answer(root.call("DELETE", f"/admin/clients/{client}"), 200)
    full.token = log_in(api, full.key, LESSER if way == "narrower" else "")["access_token"]
    status, error = (404, "not_found") if way == "deleted" else (403, "insufficient_scope")
    refused = assert_answer(ask(), status)
    assert refused["error"] == error
    assert "client_key" not in refused


def test_what_was_refused_may_be_tried_again(root: Admin) -> None:
    taken = root.make("billing")["user_id"]
    assert_refused(make(root), 409, "name_taken")
    root.change(taken, name="bills")
    assert_answer(make(root), 201)


def test_the_answer_is_nowhere_in_clear(root: Admin, settings: Settings) -> None:
    made = assert_answer(make(root), 201)
    (kept,) = rows(settings, "kept_answers")
    for secret in (ONCE, made["client_key"], made["client_key"].split("_")[2], made["user_id"]):
        assert secret not in str(kept)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_repeat_outlives_a_change_of_the_secret_and_not_its_loss(
    root: Admin, settings: Settings, clock: Clock
) -> None:
    first = make(root)
    changed = replace(settings, secret_key="n" * 32)
    for fallbacks, status in (((SECRET,), 201), ((), 422)):
        chosen = replace(changed, secret_key_fallbacks=fallbacks)
        with Client(create_app(chosen, clock)) as api:
            again = Admin(api, root.id, root.key, log_in(api, root.key)["access_token"])
            response = make(again)
            assert response.status_code == status
            assert status != 201 or response.json() == first.json()


def test_after_the_window_it_counts_for_nothing(
    root: Admin, settings: Settings, clock: Clock, api: TestClient
) -> None:
    make(root)
    clock.advance(WINDOW_SECONDS + 1)
    later = replace(root, token=log_in(api, root.key)["access_token"])
    assert_refused(make(later), 409, "name_taken")
    assert_answer(make(later, {"name": "other"}), 201)
    assert len(rows(settings, "kept_answers")) == 1
    clock.advance(WINDOW_SECONDS + 1)
    steady = Clock()
    clocks = Clocks(clock, steady)
    for moved in (clock, steady):
        moved.advance(SETTLE_SECONDS + 1)

    async def purge() -> None:
        async with Database(settings.database_url) as database:
            await purge_when_settled(database, clocks, 10)

    asyncio.run(purge())
    assert rows(settings, "kept_answers") == []


@on_one_engine
@pytest.mark.parametrize(
    "key", ["", "short", "x" * 129, '"with space inside"', 'a"bcdefghijklmnop']
)
def test_a_key_has_a_form(root: Admin, key: str) -> None:
    assert_refused(make(root, key=key), 400, "invalid_request")
    assert len(root.get("/admin/clients")["clients"]) == 1


@on_one_engine
def test_two_keys_at_once_are_refused(root: Admin) -> None:
    headers = [("Authorization", f"Bearer {root.token}"), ("Idempotency-Key", ONCE)]
    response = root.api.post("/admin/clients", json=BODY, headers=[*headers, headers[1]])
    assert_refused(response, 400, "invalid_request")


def test_a_key_that_has_ended_meanwhile_is_answered_again(root: Admin, clock: Clock) -> None:
    path = f"/admin/clients/{root.make('billing')['user_id']}/keys"
    body = {"expires_at": int(clock.now) + 60}
    first = root.call("POST", path, body, Idempotency_Key=ONCE)
    clock.advance(61)
    again = root.call("POST", path, body, Idempotency_Key=ONCE)
    assert assert_answer(first, 201) == assert_answer(again, 201)
    assert_refused(root.call("POST", path, body), 400, "invalid_request")
