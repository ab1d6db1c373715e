"""What a request costs, in questions to the database: a guard that no clock can mislead."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests import forge
from tests.checks import bearer
from tests.conftest import Clock, Registered
from tests.counting import CountingDatabase
from tests.inline import Client


@pytest.fixture
def database(settings: Settings) -> CountingDatabase:
    return CountingDatabase(settings.database_url)


@pytest.fixture
def api(settings: Settings, clock: Clock, database: CountingDatabase) -> Iterator[TestClient]:
    with Client(create_app(settings, clock, lambda url: database)) as client:
        yield client


@pytest.fixture
def pair(api: TestClient, registered: Registered) -> dict[str, str]:
    pair: dict[str, str] = api.post("/login", json={"client_key": registered.key}).json()
    return pair


def assert_asks(database: CountingDatabase, number: int, response: Any, status: int) -> None:
    assert response.status_code == status
    assert len(database.asked) == number, database.asked


def test_a_login_is_one_question(
    api: TestClient, registered: Registered, database: CountingDatabase
) -> None:
    database.asked.clear()
    assert_asks(database, 1, api.post("/login", json={"client_key": registered.key}), 200)


def test_a_protected_route_asks_nothing(
    api: TestClient, pair: dict[str, str], database: CountingDatabase
) -> None:
    database.asked.clear()
    for _ in range(10):
        response = api.get("/secure-data", headers=bearer(pair["access_token"]))
        assert_asks(database, 0, response, 200)


def test_me_is_one_question(
    api: TestClient, pair: dict[str, str], database: CountingDatabase
) -> None:
    database.asked.clear()
    assert_asks(database, 1, api.get("/me", headers=bearer(pair["access_token"])), 200)


def test_a_refresh_is_one_question_and_a_repeat_two(
    api: TestClient, pair: dict[str, str], database: CountingDatabase
) -> None:
    body = {"refresh_token": pair["refresh_token"]}
    for questions in (1, 2):
        database.asked.clear()
        assert_asks(database, questions, api.post("/refresh-token", json=body), 200)


def test_a_log_out_is_one_question(
    api: TestClient, pair: dict[str, str], database: CountingDatabase
) -> None:
    database.asked.clear()
    assert_asks(database, 1, api.post("/logout", headers=bearer(pair["access_token"])), 200)
    database.asked.clear()
    response = api.get("/secure-data", headers=bearer(pair["access_token"]))
    assert_asks(database, 0, response, 401)


def test_a_stranger_costs_no_question(api: TestClient, database: CountingDatabase) -> None:
    database.asked.clear()
    forged = forge.token(secret="k" * 32)
    for path in ("/secure-data", "/me"):
        assert_asks(database, 0, api.get(path, headers=bearer(forged)), 401)
    for path, body in (
        ("/logout", {"access_token": forged}),
        ("/refresh-token", {"refresh_token": forged}),
        ("/login", {"client_key": "ck_0123456789abcdef_" + "a" * 51}),
    ):
        assert_asks(database, 0, api.post(path, json=body), 401)
