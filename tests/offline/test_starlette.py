"""The backend for Starlette and FastAPI: who calls, what they may do, and how they are refused."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from auth_api_verifier import Verifier
from auth_api_verifier.starlette import on_error, verifier_backend
from starlette.applications import Starlette
from starlette.authentication import AuthenticationError, requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests import signing
from tests.attacks.recipes import Json, load
from tests.conftest import NOW
from tests.offline import forging
from tests.offline.feed import CLIENT_KEY, Exchange, Feed, serve_feed

SENT = [
    case
    for case in load("tokens.json")
    if forging.opening(case) and "send" in case["input"] and not case["input"].get("exact")
]


@requires("authenticated", status_code=401)
async def show(request: Request) -> JSONResponse:
    scopes = request.auth.scopes
    return JSONResponse(
        {
            "identity": request.user.identity,
            "name": request.user.display_name,
            "scopes": scopes,
            "exp": request.user.claims.exp,
        }
    )


def make_app(feed: Feed, patience: float = 10) -> Starlette:
    verifier = Verifier(feed.url, CLIENT_KEY, patience=patience, wall=lambda: NOW)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with verifier:
            yield

    backend = verifier_backend(verifier)
    protection = Middleware(AuthenticationMiddleware, backend=backend, on_error=on_error)
    routes = [Route("/secure-data", show), Route("/me", show)]
    return Starlette(routes=routes, middleware=[protection], lifespan=lifespan)


@pytest.fixture(scope="module")
def attacked() -> Iterator[TestClient]:
    with (
        serve_feed(forging.CURRENT, forging.PREVIOUS) as feed,
        TestClient(make_app(feed)) as client,
    ):
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_it_knows_who_calls_and_what_they_may_do(feed: Feed, key: signing.ES256) -> None:
    with TestClient(make_app(feed)) as client:
        answer = client.get("/me", headers=bearer(signing.token(key, scope="a b")))
    assert answer.json() == {
        "identity": "client-1",
        "name": "client-1",
        "scopes": ["authenticated", "a", "b"],
        "exp": int(NOW) + 900,
    }


def test_a_token_that_was_ended_is_a_401_with_a_challenge(feed: Feed, key: signing.ES256) -> None:
    feed.end("session-1")
    with TestClient(make_app(feed)) as client:
        answer = client.get("/me", headers=bearer(signing.token(key)))
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid_token"})
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_what_is_not_known_now_is_a_503_and_no_reason_to_log_in_anew(
    feed: Feed, key: signing.ES256
) -> None:
    def make_no_answer(exchange: Exchange) -> None:
        exchange.status = 503

    feed.twist = make_no_answer
    with TestClient(make_app(feed, patience=0)) as client:
        answer = client.get("/me", headers=bearer(signing.token(key)))
    assert (answer.status_code, answer.json()) == (503, {"error": "temporarily_unavailable"})
    assert answer.headers["Retry-After"] == "1"
    assert "WWW-Authenticate" not in answer.headers


def test_another_backends_refusal_is_a_401() -> None:
    connection = HTTPConnection({"type": "http", "headers": []})
    assert on_error(connection, AuthenticationError("no")).status_code == 401


@pytest.mark.parametrize("case", SENT, ids=lambda case: str(case["id"]))
def test_a_header_is_read_as_the_service_reads_it(attacked: TestClient, case: Json) -> None:
    """It refuses several headers with 400; here that is a 401 as any other."""
    request = forging.forge(forging.PublicKeyForger(NOW, ""), case)
    answer = attacked.request(request.method, request.url, **request.arguments)
    assert answer.status_code == (200 if forging.is_accepted(case) else 401)
