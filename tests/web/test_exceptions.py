"""Whatever a handler raises is answered with its own status, in the one shape of an error."""

import asyncio
import time
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, requires
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from authapi.errors import InvalidClient
from authapi.telemetry.flood import Refusals
from authapi.web.answers import Answer
from authapi.web.endpoints import Endpoint
from authapi.web.exceptions import answer_refusal, exception_handlers


async def refuse(request: Request[Any]) -> Response:
    status = int(request.path_params["status"])
    raise HTTPException(status, "a detail", {"X-More": "1"})


@requires("admin")
async def admin(request: Request[Any]) -> Response:
    return Answer({})


async def without_scopes(request: Request[Any]) -> Response:
    """As of a client that was granted nothing."""
    request.scope["auth"] = AuthCredentials()
    answer: Response = await admin(request)
    return answer


@pytest.fixture
def api() -> TestClient:
    routes = [
        Endpoint("/ours/{status}", refuse),
        Route("/plain/{status}", refuse),
        Endpoint("/admin", without_scopes),
    ]
    return TestClient(Starlette(routes=routes, exception_handlers=exception_handlers))


@pytest.mark.parametrize("path", ["/ours", "/plain"])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "bad_request"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (405, "method_not_allowed"),
        (409, "conflict"),
        (418, "i_m_a_teapot"),
        (499, "status_499"),
        (503, "service_unavailable"),
    ],
)
def test_an_http_exception_keeps_its_status(
    api: TestClient, path: str, status: int, error: str
) -> None:
    response = api.get(f"{path}/{status}")
    assert response.status_code == status
    assert response.headers["x-more"] == "1"
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body["error"] == error
    assert set(body) == {"error", "error_description"}
    if status not in (404, 405):  # whose prose is ours
        assert body["error_description"] == "a detail"


def test_starlettes_own_requires_is_answered_as_what_it_is(api: TestClient) -> None:
    response = api.get("/admin")
    assert (response.status_code, response.json()["error"]) == (403, "forbidden")


def test_a_status_without_a_body_has_none(api: TestClient) -> None:
    response = api.get("/ours/304")
    assert (response.status_code, response.content) == (304, b"")


def test_a_refusal_is_answered_when_it_is_due_and_others_are_served_meanwhile() -> None:
    async def test() -> None:
        request = Request[Any]({"type": "http", "state": {"refusals": Refusals()}})
        refusal = InvalidClient()
        refusal.answer_at = time.perf_counter() + 0.01
        answer = asyncio.create_task(answer_refusal(request, refusal))
        turns = 0
        while not answer.done():
            await asyncio.sleep(0)
            turns += 1
        assert time.perf_counter() >= refusal.answer_at
        assert turns > 1

    asyncio.run(test())


def test_who_waits_for_that_uses_no_cpu() -> None:
    async def test() -> None:
        request = Request[Any]({"type": "http", "state": {"refusals": Refusals()}})
        refusal = InvalidClient()
        before = time.process_time()
        refusal.answer_at = time.perf_counter() + 0.3
        await answer_refusal(request, refusal)
        assert time.process_time() - before < 0.02

    asyncio.run(test())
