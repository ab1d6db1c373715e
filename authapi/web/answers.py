"""Writes answers: always JSON, and a refusal is one of them."""

import asyncio
import re
import string
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from http.client import responses
from typing import Any
from urllib.parse import quote

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from authapi.errors import CHALLENGE, Refusal, ServerError
from authapi.request_errors import MethodNotAllowed, NotFound
from authapi.telemetry import audit
from authapi.telemetry.counting import counts
from authapi.telemetry.flood import Refusals

OTHER = "other"
"""In place of the path of a request that no route of ours has answered, and of an odd method."""
KNOWN = {name: name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}

_AS_IT_IS = string.punctuation.replace("%", "") + " "
"""What may stand in a header besides letters and digits; `%` begins what may not."""

Handler = Callable[[Request[Any]], Awaitable[Response]]

_HEADERS = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


class Answer(Response):
    """JSON that no cache keeps (RFC 6749, 5.1) and no browser takes for anything else."""

    def render(self, content: object) -> bytes:
        return orjson.dumps(content)

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """As bytes from the start: Starlette's own way is 7 % of a protected call."""
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            *_HEADERS,
            (b"x-request-id", audit.origin().get("request_id", "").encode()),
        ]
        if headers:  # which stand in the place of ours
            given = {name.lower().encode(): value.encode() for name, value in headers.items()}
            ours = [pair for pair in self.raw_headers if pair[0] not in given]
            self.raw_headers = [*ours, *given.items()]


@lru_cache(10_000)
def in_header(text: str) -> str:
    """Percent-encoded where it is more than a header may hold."""
    return quote(text, safe=_AS_IT_IS)


def refuse(request: Request[Any], refusal: Refusal) -> Answer:
    """The answer to a refused request, which is recorded."""
    record_refusal(request, refusal)
    return Answer(refusal.body(), refusal.status, refusal.headers)


def record_refusal(request: Request[Any], refusal: Refusal) -> None:
    """In the audit trail, if it is a security event."""
    if refusal.event:
        refusals: Refusals = request.scope["state"]["refusals"]
        refusals.record(refusal.event, str(refusal), **refusal.details)


async def answer_refusal(request: Request[Any], refusal: Refusal) -> Answer:
    """Of any handler, and not before `answer_at`: by then it is recorded, too.

    A thread sleeps, since the timers of a loop count milliseconds: their rounding would leak the
    elapsed part.
    """
    answer = refuse(request, refusal)
    if refusal.answer_at:
        await asyncio.to_thread(_sleep_until, refusal.answer_at)
    return answer


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.perf_counter()))


async def answer_elsewhere(request: Request[Any], exception: HTTPException) -> Response:
    """Where no endpoint has answered."""
    counts.requests[OTHER, KNOWN.get(request.method, OTHER), exception.status_code].observe(0)
    return await answer_http_exception(request, exception)


async def answer_http_exception(request: Request[Any], exception: HTTPException) -> Response:
    """What Starlette or a handler raises, under its own status and with its headers: a 405 says
    what it would `Allow`."""
    status, headers = exception.status_code, dict(exception.headers or {})
    if status in (204, 304):
        return Response(status_code=status, headers=headers)  # which have no body (RFC 9110, 6.4.1)
    if status == 401:  # each carries a challenge (RFC 9110, 15.5.2)
        headers = {"WWW-Authenticate": CHALLENGE} | headers
    ours: dict[int, Refusal] = {404: NotFound(), 405: MethodNotAllowed()}
    if refusal := ours.get(status):
        return Answer(refusal.body(), refusal.status, headers)
    phrase = responses.get(status, f"status {status}")  # it may be one that no RFC knows
    code = re.sub(r"\W+", "_", phrase.lower())
    return Answer({"error": code, "error_description": exception.detail}, status, headers)


async def answer_fault(request: Request[Any], fault: Exception) -> Answer:
    """Starlette raises the exception again after this, and uvicorn logs it."""
    counts.requests[OTHER, KNOWN.get(request.method, OTHER), 500].observe(0)
    return refuse(request, ServerError())


exception_handlers: dict[Any, Any] = {  # Starlette's own type takes no handler of a narrower class
    Refusal: answer_refusal,
    HTTPException: answer_elsewhere,
    Exception: answer_fault,
}
