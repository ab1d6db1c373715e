"""What a request costs where it costs most, counted by the interpreter: a guard with no clock.

Questions to the database, hops to another thread, signatures, made or checked, and writes to the
socket.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from app import create_app
from authapi.credentials.client_keys import new_client_key
from settings import Settings
from tests import forge
from tests.conftest import Clock, Registered
from tests.writes import exchange

COUNTED = {
    ("sqlite", "fetch"): "questions",
    ("base_events", "run_in_executor"): "hops",
    ("core", "_execute"): "hops",  # of aiosqlite, which has a thread for each connection
    ("signing_keys", "sign"): "signatures",
    ("failed_logins", "count"): "failures",
}

Send = Callable[..., Awaitable[tuple[dict[str, Any], Counter[str]]]]


def run(settings: Settings, clock: Clock, test: Callable[[Send], Awaitable[None]]) -> None:
    """Serve in this thread, where the interpreter counts."""

    async def serve() -> None:
        app = create_app(replace(settings, revocation_poll_seconds=60), clock)
        async with app.router.lifespan_context(app) as state:
            await asyncio.sleep(0.1)  # the background has begun, and sleeps

            async def send(path: str, token: str = "", status: int = 200, **body: str) -> Any:
                return await _send(app, dict(state or {}), path, token, status, body)

            await test(send)

    asyncio.run(serve())


async def _send(
    app: Any, state: dict[str, Any], path: str, token: str, status: int, body: dict[str, str]
) -> tuple[dict[str, Any], Counter[str]]:
    headers = [(b"content-type", b"application/json")]
    if token:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    scope = {
        "type": "http",
        "method": "POST" if path in ("/login", "/refresh-token", "/logout") else "GET",
        "path": path,
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 40_000),
        "state": state,
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(body).encode() if body else b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    called: dict[FrameType, str] = {}  # a coroutine is called whenever it goes on, in one frame

    def count(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        name = COUNTED.get((Path(code.co_filename).stem, code.co_name))
        if event == "call" and name:
            called[frame] = name

    sys.setprofile(count)
    try:
        await app(scope, receive, send)
    finally:
        sys.setprofile(None)
    assert sent[0]["status"] == status, sent
    return json.loads(sent[1]["body"]), Counter(called.values())


def costs(questions: int, hops: int, signatures: int) -> Counter[str]:
    return Counter(questions=questions, hops=hops, signatures=signatures)


def test_a_protected_route_costs_a_signature_the_first_time(
    settings: Settings, clock: Clock, registered: Registered
) -> None:
    async def test(send: Send) -> None:
        token = forge.token(sub=registered.id)
        assert (await send("/secure-data", token))[1] == costs(0, 0, 1)
        assert (await send("/secure-data", token))[1] == costs(0, 0, 0)
        assert (await send("/me", token))[1] == costs(1, 1, 0)
        assert (await send("/me", token))[1] == costs(0, 0, 0)

    run(settings, clock, test)


def test_a_login_asks_the_first_time_and_makes_two_signatures(
    settings: Settings, clock: Clock, registered: Registered
) -> None:
    async def test(send: Send) -> None:
        assert (await send("/login", client_key=registered.key))[1] == costs(1, 1, 2)
        assert (await send("/login", client_key=registered.key))[1] == costs(0, 0, 2)

    run(settings, clock, test)


def test_a_refresh_and_a_log_out_are_one_question_each(
    settings: Settings, clock: Clock, registered: Registered
) -> None:
    async def test(send: Send) -> None:
        pair, _ = await send("/login", client_key=registered.key)
        new, spent = await send("/refresh-token", refresh_token=pair["refresh_token"])
        assert spent == costs(1, 1, 3)
        assert (await send("/logout", new["access_token"]))[1] == costs(1, 1, 1)

    run(settings, clock, test)


def test_a_stranger_costs_a_signature_at_most(settings: Settings, clock: Clock) -> None:
    async def test(send: Send) -> None:
        token = forge.token()
        forged = token[:-43] + forge.token(jti="another")[-43:]
        assert (await send("/secure-data", forged, 401))[1] == costs(0, 0, 1)
        unknown = forge.token(secret="k" * 32)
        assert (await send("/secure-data", unknown, 401))[1] == costs(0, 0, 0)
        key = "ck_0123456789abcdef_" + "a" * 51
        failed = Counter(failures=1, hops=1)  # to a thread that waits until the answer is due
        assert (await send("/login", status=401, client_key=key))[1] == failed
        unknown = new_client_key().text
        refused = costs(1, 1, 0) + failed
        assert (await send("/login", status=401, client_key=unknown))[1] == refused

    run(settings, clock, test)


def test_each_answer_is_one_write(settings: Settings, clock: Clock, registered: Registered) -> None:
    async def test() -> None:
        app = create_app(settings, clock)
        async with app.router.lifespan_context(app) as state:

            async def ask(request: str, token: str = "", **body: str) -> Any:
                content = json.dumps(body) if body else ""
                head = f"{request} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                head += f"Authorization: Bearer {token}\r\n" if token else ""
                head += f"Content-Length: {len(content)}\r\n\r\n"
                received, writes = await exchange(app, (head + content).encode(), {**(state or {})})
                assert writes == [received]
                return json.loads(received.partition(b"\r\n\r\n")[2])

            pair = await ask("POST /login", client_key=registered.key)
            pair = await ask("POST /refresh-token", refresh_token=pair["refresh_token"])
            for request in ("GET /secure-data", "GET /me"):
                assert "user_id" in await ask(request, pair["access_token"])
            assert "message" in await ask("POST /logout", pair["access_token"])
            for request in ("GET /secure-data", "GET /nothing", "PUT /me"):
                assert "error" in await ask(request, pair["access_token"])

    asyncio.run(test())
