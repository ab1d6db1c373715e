"""Routes to handlers, and the table in which they are found at once."""

import re
import time
from collections.abc import Iterable
from copy import copy
from typing import Any

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from authapi import deadline
from authapi.errors import Refusal
from authapi.telemetry.counting import counts
from authapi.web.answers import Handler
from authapi.web.exceptions import answer_http_exception, answer_refusal


class Endpoint(Route):
    """A route to a handler. A `Refusal` and an `HTTPException` are answered here, without the two
    layers that Starlette puts around each request to find the handler of what is raised; the rest
    passes through."""

    def __init__(self, path: str, handler: Handler, *methods: str) -> None:
        """GET, unless it names other methods."""
        super().__init__(path, handler, methods=methods or ["GET"])
        # Starlette's `$` would let a final newline pass.
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z")
        self._handler = handler
        self.app = self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        request = Request[Any](scope, receive, send)
        try:
            response = await self._handler(request)
        except Refusal as refusal:
            response = await answer_refusal(request, refusal)
        except HTTPException as exception:
            response = await answer_http_exception(request, exception)
        kind = (self.path, scope["method"], response.status_code)
        counts.requests[kind].observe(time.perf_counter() - began)
        if background := response.background:
            response = copy(response)  # the handler may give the same to others
            response.background = BackgroundTask(_run_answered, background)
        await response(scope, receive, send)


async def _run_answered(background: BackgroundTask) -> None:
    deadline.end()
    await background()


class Endpoints:
    """Finds an endpoint by its path and method, where Starlette's router asks one route after the
    other. What is not in the table goes on to the router, and so does what has parameters, what
    one before it that has would take, and whatever comes after the first route of another kind:
    the first that matches answers, as ever."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        self._table: dict[tuple[str, str], Endpoint] = {}
        before: list[Endpoint] = []
        for route in routes:
            if not isinstance(route, Endpoint):
                break
            if route.param_convertors:
                before.append(route)
                continue
            if any(other.path_regex.match(route.path) for other in before):
                continue
            for method in route.methods or ():
                self._table.setdefault((route.path, method), route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            endpoint = self._table.get((scope["path"], scope["method"]))
            if endpoint:
                # What the router notes, for a middleware that asks which route has answered.
                scope.update(endpoint=endpoint.endpoint, path_params={}, route=endpoint)
                await endpoint.app(scope, receive, send)
                return
        await self.app(scope, receive, send)
