"""docs/examples/users: passwords, roles and sessions of people, in the process of the test."""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pytest
from argon2 import PasswordHasher
from openapi_spec_validator import validate

from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.engines.database import Database
from authapi.errors import TemporarilyUnavailable
from authapi.store import client_keys, clients
from authapi.testing import ServedRoutes, served
from tests.checks import Response, assert_answer, assert_refused, bearer
from tests.conftest import ENGINES, url_for_settings
from tests.serving import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "users"
PASSWORD = "four-words-of-yours"
WRONG = "four-words-of-mine"
NAME = "night-shift"
WAIT_SECONDS = 10


@pytest.fixture(scope="module")
def users() -> Iterator[Any]:
    """The module, as ROUTES finds it, and forgotten afterwards."""
    sys.path.insert(0, str(EXAMPLE))
    yield import_module("users")
    sys.path.remove(str(EXAMPLE))
    del sys.modules["users"]


@dataclass
class People:
    """The service with the routes, and who may call them."""

    api: ServedRoutes

    def on_database(self, action: Any, *arguments: Any) -> Any:
        async def run() -> Any:
            async with Database(self.api.database_url) as database:
                return await action(database, *arguments)

        return asyncio.run(run())

    def post(self, path: str, token: str = "", **body: str) -> Response:
        headers = bearer(token) if token else {}
        return self.api.client.post(path, headers=headers, json=body)

    def register(self, name: str = NAME, **more: str) -> str:
        body = {"name": name, "password": PASSWORD} | more
        answer = self.post("/users", self.api.token("users:register"), **body)
        return str(assert_answer(answer, 200)["user_id"])

    def attempt(self, password: str = PASSWORD, name: str = NAME, **more: str) -> Response:
        return self.post("/users/login", name=name, password=password, **more)

    def log_in(self, **more: str) -> dict[str, Any]:
        pair: dict[str, Any] = assert_answer(self.attempt(**more), 200)
        return pair

    def status(self, token: str, path: str = "/me") -> int:
        return self.api.client.get(path, headers=bearer(token)).status_code

    def as_client(self, client_id: str, key: str, path: str, token: str) -> Response:
        return self.api.client.post(path, auth=(client_id, key), data={"token": token})


@contextmanager
def people(users: Any, routes: str = "users:routes", **settings: str) -> Iterator[People]:
    with served(routes, **settings) as api:
        here = People(api)
        here.on_database(users.migrate)
        yield here


@pytest.fixture
def here(users: Any) -> Iterator[People]:
    with people(users) as here:
        yield here


# Registration


def test_a_machine_with_the_scope_registers_and_no_other(here: People) -> None:
    body = {"name": NAME, "password": PASSWORD}
    assert_refused(here.post("/users", **body), 401, "missing_token")
    few = assert_answer(here.post("/users", here.api.token("reports:read"), **body), 403)
    assert few["error"] == "insufficient_scope"
    user_id = here.register()
    assert here.log_in()["user_id"] == user_id


def test_a_name_is_taken_once_and_the_first_password_stays(here: People) -> None:
    here.register()
    token = here.api.token("users:register")
    assert_refused(here.post("/users", token, name=NAME, password=WRONG), 409, "name_taken")
    here.log_in()
    assert_refused(here.attempt(WRONG), 401, "invalid_login")


def test_people_are_none_of_the_machines_of_the_same_name(here: People) -> None:
    client_id, key = make_client(here, NAME)
    assert here.register() != client_id
    assert_answer(here.post("/login", client_key=key), 200)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Night"},
        {"name": "night shift"},
        {"name": "night\n"},
        {"name": "n" * 65},
        {"name": ""},
        {"password": "a" * 14},
        {"password": "a" * 129},
        {"roles": "owner"},
        {"roles": " "},
        {"roles": "reader owner"},
    ],
    ids=str,
)
def test_what_no_person_may_have_is_refused(here: People, wrong: dict[str, str]) -> None:
    body = {"name": NAME, "password": PASSWORD} | wrong
    refused = assert_refused(
        here.post("/users", here.api.token("users:register"), **body), 400, "invalid_request"
    )
    assert list(refused["fields"]) == list(wrong)


def test_a_password_is_kept_as_a_hash_alone(here: People) -> None:
    here.register()
    (row,) = here.on_database(Database.fetch_all, "SELECT * FROM users")
    assert row["password_hash"].startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert PASSWORD not in str(dict(row))


# Logins that fail


def test_an_unknown_name_a_wrong_password_and_a_disabled_person_are_answered_alike(
    users: Any, here: People
) -> None:
    here.register()
    disabled = here.register("day-shift")
    here.on_database(clients.disable_client, disabled, time.time())
    answers, verified = [], []
    for name, password in ((NAME, WRONG), ("nobody", PASSWORD), ("day-shift", PASSWORD)):
        before = users.passwords.verified
        answer = here.attempt(password, name)
        assert_refused(answer, 401, "invalid_login")
        verified.append(users.passwords.verified - before)
        headers = {each: value for each, value in answer.headers.items() if each != "x-request-id"}
        answers.append((answer.text, headers))
    assert answers[0] == answers[1] == answers[2]
    assert verified == [1, 1, 1]


def test_failed_logins_are_limited_together_with_those_of_machines(users: Any) -> None:
    with people(users, LOGIN_FAILURES_BY_ADDRESS="2/hour") as here:
        here.register()
        _, key = make_client(here, "billing")
        for name in (NAME, "nobody"):
            assert_refused(here.attempt(WRONG, name), 401, "invalid_login")
        before = users.passwords.verified
        refused = here.attempt()
        assert_refused(refused, 429, "too_many_failures")
        assert 1 <= int(refused.headers["retry-after"]) <= 3600
        assert users.passwords.verified == before
        assert_refused(here.post("/login", client_key=key), 429, "too_many_failures")


def test_the_sessions_of_a_person_are_limited(users: Any) -> None:
    with people(users, LOGINS_BY_CLIENT="2/hour") as here:
        here.register()
        for _ in range(2):
            here.log_in()
        assert_refused(here.attempt(), 429, "too_many_logins")


# Roles


REPORTS = """
import users
from authapi.extending import Answer, Endpoint, requires_scope

@requires_scope("reports:read")
async def read(request):
    return Answer({})

@requires_scope("reports:write")
async def write(request):
    return Answer({})

routes = [*users.routes, Endpoint("/reports", read), Endpoint("/reports", write, "POST")]
"""


def test_a_role_opens_the_routes_of_its_scopes(
    users: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_reports.py").write_text(REPORTS)
    monkeypatch.syspath_prepend(tmp_path)
    with people(users, "own_reports:routes") as here:
        here.register()
        here.register("day-shift", roles="reader editor")
        reader, editor = here.log_in(), here.log_in(name="day-shift")
        assert (reader["scope"], editor["scope"]) == ("reports:read", "reports:read reports:write")
        for token, may_write in ((reader, 403), (editor, 200)):
            assert here.status(token["access_token"], "/reports") == 200
            assert here.post("/reports", token["access_token"]).status_code == may_write
        few = here.log_in(name="day-shift", scope="reports:read")["access_token"]
        assert here.post("/reports", few).status_code == 403
        assert_refused(here.attempt(scope="reports:write"), 400, "invalid_scope")
    del sys.modules["own_reports"]


def test_a_role_that_is_taken_ends_the_sessions(here: People) -> None:
    user_id = here.register(roles="editor")
    pair = here.log_in()
    here.on_database(clients.set_scopes, user_id, "reports:read", True, time.time())
    refused = here.post("/refresh-token", refresh_token=pair["refresh_token"])
    assert_refused(refused, 401, "invalid_grant")
    assert here.log_in()["scope"] == "reports:read"


# A session is a session


def test_a_session_is_refreshed_and_logged_out(here: People) -> None:
    here.register()
    pair, other = here.log_in(), here.log_in()
    pair = assert_answer(here.post("/refresh-token", refresh_token=pair["refresh_token"]), 200)
    assert here.status(pair["access_token"]) == 200
    assert_answer(here.post("/logout", pair["access_token"]), 200)
    assert here.status(pair["access_token"]) == 401
    refused = here.post("/refresh-token", refresh_token=pair["refresh_token"])
    assert_refused(refused, 401, "invalid_grant")
    assert here.status(other["access_token"]) == 200


def test_a_refresh_token_that_is_replayed_ends_the_session(users: Any) -> None:
    with people(users, REFRESH_GRACE_SECONDS="0") as here:
        here.register()
        pair = here.log_in()
        spent = pair["refresh_token"]
        pair = assert_answer(here.post("/refresh-token", refresh_token=spent), 200)
        assert_refused(here.post("/refresh-token", refresh_token=spent), 401, "invalid_grant")
        assert here.status(pair["access_token"]) == 401


def test_a_log_out_everywhere_ends_all_sessions_of_one_person(here: People) -> None:
    here.register()
    here.register("day-shift")
    sessions = [here.log_in() for _ in range(3)]
    others = here.log_in(name="day-shift")
    out = here.post("/logout", sessions[0]["access_token"], everywhere="true")
    assert_answer(out, 200)
    assert [here.status(each["access_token"]) for each in sessions] == [401, 401, 401]
    assert here.status(others["access_token"]) == 200
    assert here.status(here.log_in()["access_token"]) == 200


def test_a_key_that_is_revoked_ends_the_sessions_and_lets_nobody_in(here: People) -> None:
    user_id = here.register()
    pair = here.log_in()
    (key,) = here.on_database(client_keys.list_keys, user_id)
    here.on_database(client_keys.revoke_keys, [key["id"]], time.time())
    refused = here.post("/refresh-token", refresh_token=pair["refresh_token"])
    assert_refused(refused, 401, "invalid_grant")
    assert_refused(here.attempt(), 401, "invalid_login")


def test_a_session_is_introspected_and_revoked_as_any_other(here: People) -> None:
    user_id = here.register()
    token = here.log_in()["access_token"]
    machine = make_client(here, "billing")
    told = assert_answer(here.as_client(*machine, "/oauth/introspect", token), 200)
    assert (told["active"], told["sub"], told["scope"]) == (True, user_id, "reports:read")
    others = here.as_client(*machine, "/oauth/revoke", token)
    assert_refused(others, 400, "invalid_grant")
    assert here.status(token) == 200
    # Nobody has the key of a person, unless an operator adds one.
    key = new_client_key()
    here.on_database(client_keys.add_key, user_id, key, int(time.time()))
    assert_answer(here.as_client(user_id, key.text, "/oauth/revoke", token), 200)
    told = assert_answer(here.as_client(*machine, "/oauth/introspect", token), 200)
    assert told == {"active": False}
    assert here.status(token) == 401


# The table


@pytest.mark.parametrize("engine", ENGINES)
def test_the_migration_is_repeated_goes_on_and_is_whole_or_not_at_all(
    users: Any, request: pytest.FixtureRequest, engine: str, tmp_path: Path, migrated: Path
) -> None:
    file = tmp_path / "auth.db"
    file.write_bytes(migrated.read_bytes())
    url = url_for_settings(request, engine, file)
    further = (*users.STEPS, "ALTER TABLE users ADD COLUMN changed_at BIGINT")
    broken = (*further, "ALTER TABLE users ADD COLUMN notes BIGINT", "ALTER TABLE nothing")

    async def run() -> None:
        async with Database(url) as database:
            for _ in range(2):
                assert await users.migrate(database) == "The table of users is at step 1."
            with pytest.raises(TemporarilyUnavailable):
                await users.migrate(database, broken)
            with pytest.raises(TemporarilyUnavailable):
                await database.fetch_all("SELECT changed_at FROM users")
            for _ in range(2):
                assert await users.migrate(database, further) == "The table of users is at step 2."
            assert await database.fetch_all("SELECT changed_at FROM users") == []

    asyncio.run(run())


# Passwords, off the event loop


class Slow(PasswordHasher):
    """Verifies when it is let to."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.may = threading.Event()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        if not self.may.wait(WAIT_SECONDS):
            self.may.set()  # for all that come after this one
            raise AssertionError("the event loop waits for it")
        return super().verify(hash, password)


def test_the_event_loop_goes_on_and_not_too_many_wait(users: Any) -> None:
    slow = Slow()
    passwords = users.Passwords(slow)

    async def run() -> list[Any]:
        password_hash = await passwords.hash(PASSWORD)
        attempts = [
            asyncio.create_task(passwords.match(PASSWORD, password_hash))
            for _ in range(users.MAX_WAITING)
        ]
        await asyncio.sleep(0)  # all have begun
        with pytest.raises(users.Busy):
            await passwords.match(PASSWORD, None)
        slow.may.set()
        outcomes = await asyncio.gather(*attempts)
        assert not await passwords.match(WRONG, password_hash)
        return outcomes

    assert asyncio.run(run()) == [True] * users.MAX_WAITING


def test_one_who_types_an_accent_in_another_way_is_let_in(users: Any) -> None:
    passwords = users.Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))

    async def run() -> None:
        password_hash = await passwords.hash("four-words-caf\u00e9")
        assert await passwords.match("four-words-cafe\u0301", password_hash)
        assert not await passwords.match("four-words-cafe", password_hash)

    asyncio.run(run())


def test_the_routes_are_described(here: People) -> None:
    document = here.api.client.get("/openapi.json").json()
    validate(document)
    assert {"/users", "/users/login"} < set(document["paths"])


def make_client(here: People, name: str) -> tuple[str, str]:
    """Its id and its key."""
    client_id, key = new_client_id(), new_client_key()
    here.on_database(clients.create_client, client_id, name, key, int(time.time()))
    return client_id, key.text
