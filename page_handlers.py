"""What a person sees in a browser, and a machine in its place: the pages, and the description."""

from starlette.requests import Request
from starlette.responses import Response

from authapi.addresses import url_of
from authapi.errors import TemporarilyUnavailable
from authapi.html import pages
from authapi.request_errors import NotFound
from authapi.store.health import ping
from authapi.web.answers import Answer
from handlers import State


async def landing(request: Request[State]) -> Response:
    """Say what this is, to a browser; others find nothing here."""
    if "text/html" not in request.headers.get("accept", ""):
        raise NotFound
    try:
        await ping(request.state["database"])
        is_ready = True
    except TemporarilyUnavailable:
        is_ready = False
    has_metadata = request.state["metadata"] is not None
    return pages.landing(request.state["document"](), is_ready, has_metadata)


async def docs(request: Request[State]) -> Response:
    """Show what there is, to a person."""
    return request.state["docs"](_base_url(request))


def _base_url(request: Request[State]) -> str:
    """As configured, or as the socket has it; never by the `Host` that the caller sent."""
    configured = request.state["base_url"]
    host, port = request.scope.get("server") or ("127.0.0.1", 8000)
    return configured or url_of(host, port or 80)


async def openapi(request: Request[State]) -> Answer:
    """Describe the service to machines (OpenAPI 3.1)."""
    answer = Answer(request.state["document"]())
    answer.headers["Cache-Control"] = "public, max-age=300"
    return answer
