"""What stands in the table is answered as the router would answer it, and without asking it."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authapi import deadline
from authapi.request_errors import NotFound
from authapi.telemetry.counting import counts
from authapi.web.answers import Answer, Handler
from authapi.web.endpoints import Endpoint, Endpoints
from authapi.web.exceptions import exception_handlers
from authapi.web.requests import OriginMiddleware


def says(name: str) -> Handler:
    async def handler(request: Request[Any]) -> Response:
        noted = [request.scope["endpoint"] is handler, request.scope["route"].path]
        return Answer({"name": name, "path_params": request.path_params, "noted": noted})

    return handler


async def refuses(request: Request[Any]) -> Response:
    raise NotFound("nothing here")


async def raises(request: Request[Any]) -> Response:
    raise HTTPException(409, "a detail", {"X-More": "1"})


async def fails(request: Request[Any]) -> Response:
    raise ValueError("a fault")


async def asks(request: Request[Any]) -> Response:
    return Answer({"router": "router" in request.scope})


class Marking:
    """A middleware of somebody's own, which adds a header and tells the route."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["route"].path if "route" in scope else "-"
                message["headers"].append((b"x-marked", path.encode()))
            await send(message)

        await self.app(scope, receive, marked if scope["type"] == "http" else send)


ROUTES: dict[str, list[BaseRoute]] = {
    "of one path each": [Endpoint("/a", says("a")), Endpoint("/a/b", says("b"), "POST")],
    "twice the same": [Endpoint("/a", says("one")), Endpoint("/a", says("other"))],
    "of a method each": [Endpoint("/a", says("one"), "POST"), Endpoint("/a", says("other"))],
    "after a plain one": [Route("/a", says("plain")), Endpoint("/a", says("ours"))],
    "after one with parameters": [Endpoint("/{x}", says("any")), Endpoint("/a", says("a"))],
    "before one with parameters": [Endpoint("/a", says("a")), Endpoint("/{x}", says("any"))],
    "after a mount": [Mount("/a", routes=[Route("/b", says("b"))]), Endpoint("/a/b", says("a"))],
    "that raise": [Endpoint("/a", raises), Endpoint("/a/b", refuses), Endpoint("/a", fails, "PUT")],
    "none": [],
}


def serve(routes: Sequence[BaseRoute], *middleware: Middleware) -> TestClient:
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=exception_handlers)
    app.router.redirect_slashes = False
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture(scope="module", params=[*ROUTES.values()], ids=[*ROUTES])
def router_and_table(request: pytest.FixtureRequest) -> Iterator[tuple[TestClient, TestClient]]:
    routes, mark = request.param, Middleware(Marking)
    table = Middleware(Endpoints, routes=routes)
    with serve(routes, mark) as by_router, serve(routes, mark, table) as by_table:
        yield by_router, by_table


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", ["/a", "/a/", "/a/b", "/A", "/a%0a", "/%61", "/a?x=1", "//a", "/"])
def test_the_table_finds_what_the_router_finds(
    router_and_table: tuple[TestClient, TestClient], path: str, method: str
) -> None:
    expected, found = (api.request(method, path) for api in router_and_table)
    assert (found.status_code, found.headers, found.content) == (
        expected.status_code,
        expected.headers,
        expected.content,
    )


def test_the_router_is_not_asked_for_what_is_in_the_table() -> None:
    routes = [Endpoint("/a", asks), Endpoint("/{x}", asks), Endpoint("/a/b", asks)]
    with serve(routes, Middleware(Endpoints, routes=routes)) as api:
        asked = {path: api.get(path).json()["router"] for path in ("/a", "/c", "/a/b")}
    assert asked == {"/a": False, "/c": True, "/a/b": False}


@pytest.mark.parametrize(("path", "by_router"), [("/b", False), ("/a/b", True)])
def test_the_table_goes_on_past_parameters_to_what_they_do_not_take(
    path: str, by_router: bool
) -> None:
    routes = [Endpoint("/a/{x}", says("first")), Endpoint(path, asks)]
    middleware = [Middleware(Endpoints, routes=routes)]
    answer = TestClient(Starlette(routes=routes, middleware=middleware)).get(path)
    assert ("name" in answer.json()) == by_router
    assert by_router or answer.json() == {"router": False}


def test_what_an_endpoint_raises_is_counted_by_its_path() -> None:
    before = counts.requests["/counted", "GET", 409].counts.copy()
    serve([Endpoint("/counted", raises)]).get("/counted")
    assert sum(counts.requests["/counted", "GET", 409].counts) == sum(before) + 1


@pytest.mark.parametrize("kind", [PlainTextResponse, StreamingResponse])
def test_what_runs_after_the_answer_has_no_deadline(kind: type[Response]) -> None:
    """It may ask the database when the request would long have had to be answered."""
    left: list[float | None] = []

    async def note() -> None:
        left.append(deadline.left())

    answer, task = kind("body"), BackgroundTask(note)
    answer.background = task

    async def handler(request: Request[Any]) -> Response:
        await note()
        return answer

    api = serve([Endpoint("/a", handler)], Middleware(OriginMiddleware))
    assert api.get("/a").text == "body"
    assert [seconds is None for seconds in left] == [False, True]
    assert answer.background is task  # since it may be given to another request, too
