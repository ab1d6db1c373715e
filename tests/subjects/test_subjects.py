"""Sessions that routes of one's own begin hang on the registry, and count against its limits."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from authapi.credentials.client_keys import new_client_key
from authapi.engines.database import Database
from authapi.store import client_keys, clients
from authapi.testing import ServedRoutes, served
from tests.checks import Response, assert_answer, assert_refused, bearer

ROUTES = """
from starlette.requests import Request

from authapi.extending import (
    Answer, Endpoint, InvalidLogin, NotFound, begin_session, database_of, login_attempt,
    register_client,
)
import sqlalchemy as sa

ADD = sa.insert(sa.table("notes", sa.column("id"))).values(id=sa.bindparam("id"))

async def register(request):
    asked = request.query_params

    async def also(client_id):
        await database_of(request).fetch_all(ADD, {"id": client_id})
        if "fail" in asked:
            raise NotFound

    try:
        client_id = await register_client(request, asked["name"], asked.get("scope", ""), also)
    except ValueError as fault:
        return Answer({"fault": str(fault)})
    return Answer({"id": client_id})

async def plain(request):
    return Answer({"id": await register_client(request, "plain")})

async def begin(request):
    asked = request.query_params
    async with login_attempt(request):
        if "wrong" in asked:
            raise InvalidLogin("wrong")
        return Answer(await begin_session(request, asked["id"], asked.get("scope", "")))

routes = [
    Endpoint("/register", register, "POST"),
    Endpoint("/plain", plain, "POST"),
    Endpoint("/begin", begin, "POST"),
]
"""


@pytest.fixture
def limits() -> dict[str, str]:
    return {}


@pytest.fixture
def api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, str]
) -> Iterator[ServedRoutes]:
    (tmp_path / "own_subjects.py").write_text(ROUTES)
    monkeypatch.syspath_prepend(tmp_path)
    with served("own_subjects:routes", **limits) as api:
        on_database(api, Database.fetch_all, "CREATE TABLE notes (id VARCHAR(32))")
        yield api
    del sys.modules["own_subjects"]


@pytest.fixture
def client(api: ServedRoutes) -> TestClient:
    return api.client


def on_database(api: ServedRoutes, action: Any, *arguments: Any) -> Any:
    async def run() -> Any:
        async with Database(api.database_url) as database:
            return await action(database, *arguments)

    return asyncio.run(run())


def post(client: TestClient, path: str, **query: str) -> Response:
    return client.post(path, params=query)


def register(client: TestClient, name: str = "door", scope: str = "a b") -> str:
    return str(assert_answer(post(client, "/register", name=name, scope=scope), 200)["id"])


def count(api: ServedRoutes) -> tuple[int, int]:
    """Clients, and what was to be written with them."""
    ours = on_database(api, Database.fetch_all, "SELECT * FROM notes")
    return on_database(api, clients.count_clients), len(ours)


def test_what_is_written_with_a_client_is_written_or_neither_is(
    api: ServedRoutes, client: TestClient
) -> None:
    assert_refused(post(client, "/register", name="door", fail="1"), 404, "not_found")
    assert count(api) == (0, 0)
    register(client)
    assert count(api) == (1, 1)
    assert assert_answer(post(client, "/register", name="door"), 200) == {"id": None}
    assert count(api) == (1, 1)
    assert assert_answer(post(client, "/plain"), 200)["id"]
    assert count(api) == (2, 1)


@pytest.mark.parametrize("wrong", [{"name": " a"}, {"name": "a", "scope": 'a"b'}], ids=str)
def test_a_name_or_scopes_that_no_client_has_are_refused(
    api: ServedRoutes, client: TestClient, wrong: dict[str, str]
) -> None:
    assert assert_answer(post(client, "/register", **wrong), 200)["fault"].startswith("not a ")
    assert count(api) == (0, 0)


def test_a_session_has_the_scopes_that_were_granted_or_fewer(client: TestClient) -> None:
    door = register(client)
    answer = assert_answer(post(client, "/begin", id=door), 200)
    assert (answer["user_id"], answer["scope"]) == (door, "a b")
    assert "key_expires_at" not in answer
    assert assert_answer(post(client, "/begin", id=door, scope="b"), 200)["scope"] == "b"
    assert_refused(post(client, "/begin", id=door, scope="b c"), 400, "invalid_scope")


def test_nobody_begins_one_who_is_unknown_or_disabled_or_has_no_open_key(
    api: ServedRoutes, client: TestClient
) -> None:
    door = register(client)
    assert_refused(post(client, "/begin", id="none"), 401, "invalid_login")
    on_database(api, clients.disable_client, door, time.time())
    assert_refused(post(client, "/begin", id=door), 401, "invalid_login")
    on_database(api, clients.enable_client, door, time.time())
    (key,) = on_database(api, client_keys.list_keys, door)
    assert_answer(post(client, "/begin", id=door), 200)
    on_database(api, client_keys.revoke_keys, [key["id"]], time.time())
    assert_refused(post(client, "/begin", id=door), 401, "invalid_login")


def test_it_hangs_on_the_key_that_lasts_the_longest(api: ServedRoutes, client: TestClient) -> None:
    door, now = register(client), int(time.time())
    (first,) = on_database(api, client_keys.list_keys, door)
    ends = (now + 3600, now + 7200, now - 1)
    for end in ends:
        on_database(api, client_keys.add_key, door, new_client_key(), now, end)
    assert "key_expires_at" not in assert_answer(post(client, "/begin", id=door), 200)
    on_database(api, client_keys.revoke_keys, [first["id"]], now)
    answer = assert_answer(post(client, "/begin", id=door), 200)
    assert answer["key_expires_at"] == now + 7200
    headers = bearer(answer["access_token"])
    assert client.get("/me", headers=headers).status_code == 200


@pytest.mark.parametrize("limits", [{"LOGINS_BY_CLIENT": "1/hour"}])
def test_its_sessions_are_limited(client: TestClient) -> None:
    door, other = register(client), register(client, "other")
    assert_answer(post(client, "/begin", id=door), 200)
    assert_refused(post(client, "/begin", id=door), 429, "too_many_logins")
    assert_answer(post(client, "/begin", id=other), 200)


@pytest.mark.parametrize("limits", [{"LOGIN_FAILURES_BY_ADDRESS": "2/hour"}])
def test_what_fails_counts_with_the_logins_of_machines(client: TestClient) -> None:
    door = register(client)
    assert_refused(post(client, "/begin", id=door, wrong="1"), 401, "invalid_login")
    assert_answer(post(client, "/begin", id=door), 200)
    wrong = client.post("/login", json={"client_key": "ck_wrong"})
    assert_refused(wrong, 401, "invalid_client")
    assert_refused(post(client, "/begin", id=door), 429, "too_many_failures")
