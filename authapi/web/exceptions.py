"""What answers an exception: a refusal, what Starlette raises, and what nobody expected."""

import asyncio
import re
import time
from http.client import responses
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from authapi.errors import CHALLENGE, Refusal, ServerError
from authapi.request_errors import MethodNotAllowed, NotFound
from authapi.telemetry.counting import counts
from authapi.web.answers import Answer, refuse

OTHER = "other"
"""In place of the path of a request that no route of ours has answered, and of an odd method."""
KNOWN = {name: name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}


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
