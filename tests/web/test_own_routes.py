"""ROUTES names a list of routes; what it cannot name is told in a line, and exit code 2."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import routes
from authapi.testing import served
from authapi.web.own_routes import RoutesFault, load_routes
from tests.checks import assert_answer, assert_refused
from tests.conftest import SECRET
from tests.serving import run

GOOD = """
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from authapi.extending import (
    Answer, Endpoint, NotFound, Payload, Refusal, authenticated, read_payload, requires_scope,
)

@authenticated
async def mine(request: Request) -> Answer:
    return Answer({"user_id": request.user.identity})

@requires_scope("reports:write")
async def write(request: Request) -> Answer:
    return Answer({"written": True})

async def lost(request: Request) -> Answer:
    raise NotFound

async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse("plain")

routes = [
    Endpoint("/mine", mine),
    Endpoint("/mine", write, "POST", "PUT"),
    Endpoint("/lost", lost),
    Route("/plain", plain),
    Mount("/deep", routes=[Route("/plain", plain)]),
]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current one, which is forgotten afterwards with the modules in it."""
    before, path = set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_they_are_served_beside_ours(folder: Path) -> None:
    (folder / "own_good.py").write_text(GOOD)
    with served("own_good:routes") as service:
        api = service.client
        answer = assert_answer(api.get("/mine", headers=service.bearer()), 200)
        assert set(answer) == {"user_id"}
        assert_refused(api.get("/mine"), 401, "missing_token")
        for method in ("POST", "PUT"):
            few = api.request(method, "/mine", headers=service.bearer("reports:read"))
            assert assert_answer(few, 403)["error"] == "insufficient_scope"
            enough = service.bearer("reports:read reports:write")
            assert assert_answer(api.request(method, "/mine", headers=enough), 200)
        assert_refused(api.get("/lost"), 404, "not_found")
        assert api.get("/plain").text == api.get("/deep/plain").text == "plain"
        assert_answer(api.get("/healthz"), 200)
        assert_refused(api.get("/nothing"), 404, "not_found")


def test_a_token_for_tests_is_a_clients_own_and_can_be_logged_out(folder: Path) -> None:
    (folder / "own_tokens.py").write_text(GOOD)
    with served("own_tokens:routes", TOKEN_ISSUER="https://auth.example") as service:
        headers = service.bearer()
        one = service.client.get("/mine", headers=headers).json()
        other = service.client.get("/mine", headers=service.bearer()).json()
        assert one["user_id"] != other["user_id"]
        metadata = service.client.get("/.well-known/oauth-authorization-server").json()
        assert metadata["issuer"] == "https://auth.example"
        assert_answer(service.client.post("/logout", headers=headers), 200)
        assert_refused(service.client.get("/mine", headers=headers), 401, "invalid_token")


def test_a_module_of_a_package_is_found(folder: Path) -> None:
    (folder / "own_package").mkdir()
    (folder / "own_package" / "reports.py").write_text(GOOD)
    assert len(load_routes("own_package.reports:routes", routes)) == 5


WRONGLY_DESCRIBED = """
from marshmallow import Schema

from authapi.extending import Answer, Description, Endpoint, describes

@describes(Description(Schema, refuses=[LookupError]))
async def mine(request):
    return Answer({})

routes = [Endpoint("/mine", mine)]
"""


def test_a_wrong_description_is_found_at_the_start(folder: Path) -> None:
    (folder / "own_wrong.py").write_text(WRONGLY_DESCRIBED)
    with pytest.raises(AttributeError, match="LookupError"), served("own_wrong:routes"):
        pass


EVERY_PATH = """
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

async def page(scope, receive, send):
    await PlainTextResponse("page")(scope, receive, send)

routes = [Mount("/", page)]
"""


def test_a_route_for_every_path_gets_none_of_ours_whatever_the_method(folder: Path) -> None:
    """Else a proxy that asks by the method of the request lets in who sends an odd one."""
    (folder / "own_every.py").write_text(EVERY_PATH)
    with served("own_every:routes") as service:
        assert service.client.request("PROPFIND", "/pages").text == "page"
        for route in routes:
            for method in ("PROPFIND", "TRACE", "GET", "POST", "HEAD"):
                if route.methods and method not in route.methods:
                    response = service.client.request(method, route.path)
                    assert response.status_code == 405
                    assert set(response.headers["Allow"].split(", ")) == route.methods


def test_without_the_setting_there_are_none() -> None:
    assert load_routes("", routes) == []


FAULTS = {
    "no module": (None, "own:routes", "there is no such module here"),
    "no package": (None, "own.reports:routes", "there is no such module here"),
    "no attribute": ("", "own:routes", "has no list of routes `routes`"),
    "no list": ("routes = 1", "own:routes", "has no list of routes"),
    "a list of others": ("routes = ['/x']", "own:routes", "has no list of routes"),
    "a path of ours": (
        "from starlette.routing import Route\nroutes = [Route('/login', None)]",
        "own:routes",
        "/login is a path of the service",
    ),
    "a fault": ("\n1 / 0", "own:routes", "own.py, line 2: ZeroDivisionError: division by zero"),
    "no syntax": ("routes = [", "own:routes", "SyntaxError"),
    "a module that it lacks": ("import nowhere_to_be_found", "own:routes", "own.py, line 1: "),
    "no scope": (
        "from authapi.extending import requires_scope\nrequires_scope('é')",
        "own:routes",
        "ValueError: not a list of scopes",
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_cannot_be_served_is_told_in_a_line(folder: Path, what: str) -> None:
    content, setting, says = FAULTS[what]
    if content is not None:
        (folder / "own.py").write_text(content)
    with pytest.raises(RoutesFault) as told:
        load_routes(setting, routes)
    assert says in str(told.value)
    assert str(told.value).startswith(f"ROUTES={setting}: ")
    assert "\n" not in str(told.value)


def test_the_service_does_not_start_with_it(folder: Path) -> None:
    ended = run(folder, "app.py", SECRET_KEY=SECRET, ROUTES="own_missing:routes")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("ROUTES=own_missing:routes: there is no such module")
    assert ended.stderr.count("\n") == 1
