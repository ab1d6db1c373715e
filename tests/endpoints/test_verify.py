"""GET /verify: what a proxy is told before it lets a request through."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import Clock, Register, Registered
from tests.counting import CountingDatabase
from tests.inline import Client
from tests.sqlite import opened
from tests.steps import log_out

Login = Callable[[], dict[str, str]]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@pytest.fixture
def token(registered: Registered, settings: Settings, login: Login) -> str:
    with opened(settings.database_url.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE clients SET scopes = 'reports:read reports:write'")
    return login()["access_token"]


@pytest.mark.parametrize("method", METHODS)
def test_who_calls_is_told_in_headers(
    api: TestClient, registered: Registered, token: str, method: str
) -> None:
    response = api.request(method, "/verify", headers=bearer(token))
    assert assert_answer(response, 200) == {}
    assert response.headers["x-client-id"] == registered.id
    assert response.headers["x-client-name"] == "reporting"
    assert response.headers["x-scope"] == "reports:read reports:write"


def test_to_head_as_well(api: TestClient, registered: Registered, token: str) -> None:
    response = api.head("/verify", headers=bearer(token))
    assert response.status_code == 200
    assert response.headers["x-client-id"] == registered.id


def test_a_client_without_scopes_has_an_empty_one(api: TestClient, login: Login) -> None:
    """And not none, or a proxy would leave the caller's own header in its place."""
    response = api.get("/verify", headers=bearer(login()["access_token"]) | {"X-Scope": "admin"})
    assert response.headers["x-scope"] == ""


NAMES = ["a b", "Zoë", "日本", "100%", "a%20b", 'quo"ted', "back\\slash", "semi;colon,comma", "🎉"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_fits_into_a_header(api: TestClient, register: Register, name: str) -> None:
    pair = api.post("/login", json={"client_key": register(name).key}).json()
    shown = api.get("/verify", headers=bearer(pair["access_token"])).headers["x-client-name"]
    assert shown.isascii()
    assert shown.isprintable()
    assert unquote(shown) == name


@pytest.mark.parametrize(
    "query",
    [
        "scope=reports:read",
        "scope=reports:read%20reports:write",
        "scope=reports:write+reports:read",
    ],
)
def test_a_scope_that_the_token_has_opens(api: TestClient, token: str, query: str) -> None:
    assert_answer(api.get(f"/verify?{query}", headers=bearer(token)), 200)


def test_a_scope_that_it_lacks_does_not(api: TestClient, token: str) -> None:
    response = api.get("/verify?scope=reports:read%20admin", headers=bearer(token))
    assert assert_answer(response, 403)["error"] == "insufficient_scope"
    assert response.headers["www-authenticate"] == (
        'Bearer realm="auth-api", error="insufficient_scope", scope="reports:read admin"'
    )
    assert "x-client-id" not in response.headers


SLIPS = ["scope=", "scope", "scopes=admin", "SCOPE=admin", "scope=a&scope=b", "scope=a&b=c",
         "scope=a%20%20b", "scope=%22", "scope=%c3%a9", "a=b", "&", "scope=a%0d%0ab"]  # fmt: skip


@pytest.mark.parametrize("query", SLIPS)
def test_a_slip_in_the_query_opens_nothing(api: TestClient, token: str, query: str) -> None:
    assert_refused(api.get(f"/verify?{query}", headers=bearer(token)), 400, "invalid_request")


def test_without_a_good_token_it_is_closed(api: TestClient, token: str) -> None:
    assert_refused(api.get("/verify"), 401, "missing_token")
    assert_refused(api.get("/verify?scope=reports:read"), 401, "missing_token")
    assert_refused(api.get("/verify", headers=bearer("x")), 401, "invalid_token")
    log_out(api, token)
    assert_refused(api.get("/verify", headers=bearer(token)), 401, "invalid_token")


def test_a_client_that_is_gone_opens_nothing(
    api: TestClient, token: str, settings: Settings
) -> None:
    with opened(settings.database_url.removeprefix("sqlite:///")) as database:
        database.execute("DELETE FROM client_keys")
        database.execute("DELETE FROM clients")
    assert_refused(api.get("/verify", headers=bearer(token)), 401, "invalid_token")


@pytest.fixture
def counted(settings: Settings, clock: Clock) -> Iterator[tuple[TestClient, CountingDatabase]]:
    database = CountingDatabase(settings.database_url)
    with Client(create_app(settings, clock, lambda url: database)) as api:
        yield api, database


def test_it_asks_once_and_not_again(
    counted: tuple[TestClient, CountingDatabase], registered: Registered
) -> None:
    api, database = counted
    pair: dict[str, Any] = api.post("/login", json={"client_key": registered.key}).json()
    database.asked.clear()
    for _ in range(5):
        assert_answer(api.get("/verify", headers=bearer(pair["access_token"])), 200)
    assert len(database.asked) == 1
