"""What holds on every path: one shape for every refusal, and no way to a 500 but our own fault."""

from dataclasses import replace

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from app import create_app, managing, routes
from settings import Settings
from tests import forge
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import Clock, Shared
from tests.inline import Client

ALLOWED = {
    "/login": {"POST"},
    "/refresh-token": {"POST"},
    "/logout": {"POST"},
    "/revocations": {"GET", "HEAD"},
    "/secure-data": {"GET", "HEAD"},
    "/me": {"GET", "HEAD"},
    "/me/keys": {"GET", "HEAD"},
    "/me/keys/rotate": {"POST"},
    "/me/keys/revoke": {"POST"},
    "/me/keys/{key_id}": {"DELETE"},
    "/verify": {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"},
    "/oauth/token": {"POST"},
    "/oauth/revoke": {"POST"},
    "/oauth/introspect": {"POST"},
    "/.well-known/oauth-authorization-server": {"GET", "HEAD"},
    "/.well-known/jwks.json": {"GET", "HEAD"},
    "/": {"GET", "HEAD"},
    "/docs": {"GET", "HEAD"},
    "/openapi.json": {"GET", "HEAD"},
    "/healthz": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
}


MANAGED = {
    "/admin/clients": {"GET", "HEAD", "POST"},
    "/admin/clients/{client_id}": {"GET", "HEAD", "PATCH", "DELETE"},
    "/admin/clients/{client_id}/end-sessions": {"POST"},
    "/admin/clients/{client_id}/keys": {"GET", "HEAD", "POST"},
    "/admin/clients/{client_id}/keys/rotate": {"POST"},
    "/admin/keys/{key_id}": {"GET", "HEAD", "DELETE"},
    "/admin/leaks": {"POST"},
}


@pytest.fixture
def api(shared: Shared) -> TestClient:
    return shared.api


def test_these_are_the_routes() -> None:
    assert {route.path: route.methods for route in routes} == ALLOWED
    assert {route.path: route.methods for route in managing} == MANAGED


def test_where_it_manages_its_paths_are_its_own(settings: Settings, clock: Clock) -> None:
    with Client(create_app(replace(settings, management="on"), clock)) as api:
        for path, allowed in MANAGED.items():
            response = api.request("PUT", path)
            assert_refused(response, 405, "method_not_allowed")
            assert set(response.headers["allow"].split(", ")) == allowed


METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"}


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for path in ALLOWED for method in sorted(METHODS - ALLOWED[path] - {"HEAD"})],
)
def test_another_method_is_told_which_are_allowed(api: TestClient, method: str, path: str) -> None:
    response = api.request(method, path)
    assert_refused(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == ALLOWED[path]


@pytest.mark.parametrize("path", ["/", "/nothing", "/login/", "/me/", "//me", "/Me", "/é"])
def test_an_unknown_path_is_not_found_and_never_redirected(api: TestClient, path: str) -> None:
    response = api.get(path, headers={"Host": "elsewhere.example"}, follow_redirects=False)
    assert_refused(response, 404, "not_found")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_told_to_everybody(api: TestClient, path: str) -> None:
    assert assert_answer(api.get(path), 200) == {"status": "ok"}
    assert assert_answer(api.get(path, headers=bearer("stale")), 200) == {"status": "ok"}
    assert api.head(path).status_code == 200


async def broken(request: Request) -> Response:
    raise RuntimeError("a secret")


def test_a_fault_of_ours_is_a_500_of_the_one_shape(settings: Settings) -> None:
    app = create_app(settings)
    app.router.routes.append(Route("/broken", broken))
    with Client(app, raise_server_exceptions=False) as api:
        assert_refused(api.get("/broken"), 500, "server_error", "a secret")


def test_a_previous_secret_verifies_but_does_not_sign(settings: Settings, clock: Clock) -> None:
    rotated = replace(settings, secret_key="n" * 32, secret_key_fallbacks=(settings.secret_key,))
    old = forge.token()
    with Client(create_app(rotated, clock)) as api:
        assert_answer(api.get("/secure-data", headers=bearer(old)), 200)
    retired = replace(rotated, secret_key_fallbacks=())
    with Client(create_app(retired, clock)) as api:
        assert_refused(api.get("/secure-data", headers=bearer(old)), 401, "invalid_token")
