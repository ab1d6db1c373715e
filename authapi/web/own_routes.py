"""Routes of your own: the list that ROUTES names, loaded at the start or refused with a line."""

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from authapi.web.answers import Handler
from authapi.web.endpoints import Endpoint


class RoutesFault(Exception):
    """ROUTES names nothing that can be served; the message says why."""


class Reserved(Endpoint):
    """Of the service: its path is its own in every method. Another would go to a route of yours
    that takes every path, and whoever asks `/verify` would take its answer for ours."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return match if match is Match.NONE else Match.FULL, child_scope


class Resource(Reserved):
    """A path of the service with a handler for each method."""

    def __init__(self, path: str, handlers: Mapping[str, Handler]) -> None:
        async def answer(request: Request[Any]) -> Response:
            return await handlers[request.method.replace("HEAD", "GET")](request)

        super().__init__(path, answer, *handlers)
        self.handlers = handlers


def load_routes(name: str, ours: Sequence[Route]) -> list[BaseRoute]:
    """Of `module:list`, or none if that is empty. Its module may be in the current folder.

    Raises `RoutesFault`.
    """
    if not name:
        return []
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = import_module(module_name)
    except Exception as fault:  # whatever a module of yours raises
        raise RoutesFault(f"ROUTES={name}: {_explain(module_name, fault)}") from fault
    routes = getattr(module, attribute, None)
    if not isinstance(routes, list | tuple) or not all(isinstance(r, BaseRoute) for r in routes):
        raise RoutesFault(f"ROUTES={name}: {module.__file__} has no list of routes `{attribute}`.")
    taken = {route.path for route in ours} & {getattr(route, "path", "") for route in routes}
    if taken:
        raise RoutesFault(f"ROUTES={name}: {min(taken)} is a path of the service; choose another.")
    return list(routes)


def _explain(module_name: str, fault: Exception) -> str:
    if isinstance(fault, ModuleNotFoundError) and f"{module_name}.".startswith(f"{fault.name}."):
        return "there is no such module here; start in its folder, or add that to PYTHONPATH."
    if isinstance(fault, SyntaxError):
        return f"{fault.filename}, line {fault.lineno}: {type(fault).__name__}: {fault.msg}"
    # Where a module was being read, and not deep in what it called; first of all, where we began.
    frames = traceback.extract_tb(fault.__traceback__)
    where = [frames[0], *(frame for frame in frames if frame.name == "<module>")][-1]
    return f"{where.filename}, line {where.lineno}: {type(fault).__name__}: {fault}"
