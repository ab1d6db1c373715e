"""From the `Authorization` header to `request.user`: identifies, and never refuses.

The middleware runs on every path, and a client with a stale header must still reach `/login`. So
the backend only notes why a caller stays anonymous, and `@authenticated` refuses for that reason.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    BaseUser,
    SimpleUser,
    UnauthenticatedUser,
    has_required_scope,
)
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from authapi.credentials.claims import Claims
from authapi.credentials.scopes import read_scopes
from authapi.errors import InsufficientScope, InvalidRequest, MissingToken, Refusal
from authapi.web.answers import Handler, refuse
from authapi.web.requests import Headers, values_of


class Client(SimpleUser):
    """The client whose access token came with the request. `identity` is its `user_id`."""

    def __init__(self, claims: Claims) -> None:
        super().__init__(claims.sub)
        self.claims = claims


class Anonymous(UnauthenticatedUser):
    """A caller without a token that counts, and the refusal that a protected route answers."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class BearerBackend(AuthenticationBackend):
    def __init__(self, check: Callable[[str], Awaitable[Claims]]) -> None:
        self._check = check

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:
        try:
            token = extract_bearer(conn.scope["headers"])
            if token is None:
                return AuthCredentials(), Anonymous(MissingToken())
            claims = await self._check(token)
        except Refusal as refusal:
            # Without its traceback, which would hold the request, and so the user: a reference
            # cycle that costs the garbage collector a tenth of a login.
            return AuthCredentials(), Anonymous(refusal.with_traceback(None))
        return AuthCredentials(claims.scope.split()), Client(claims)


def extract_bearer(headers: Headers) -> str | None:
    """The token of the one `Authorization: Bearer` header (RFC 6750, 2.1), if there is one.

    Raises `InvalidRequest` if there are several `Authorization` headers, of any scheme.
    """
    values = values_of(b"authorization", headers)
    if len(values) > 1:
        raise InvalidRequest("several Authorization headers")
    scheme, _, token = b"".join(values).decode("latin-1").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def authenticated(handler: Handler) -> Handler:
    """Answer a `Client` only."""

    @wraps(handler)
    async def guarded(request: Request[Any]) -> Response:
        if isinstance(request.user, Anonymous):
            return refuse(request, request.user.refusal)
        return await handler(request)

    vars(guarded)["scopes"] = []  # for who describes the handler
    return guarded


def requires_scope(*scopes: str) -> Callable[[Handler], Handler]:
    """Answer a `Client` only, and only if its token has all of these scopes.

    Raises `ValueError` for what is no scope, as the module is imported.
    """
    needed = read_scopes(" ".join(scopes))

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        async def scoped(request: Request[Any]) -> Response:
            demand_scopes(request, needed)
            return await handler(request)

        guarded = authenticated(scoped)
        vars(guarded)["scopes"] = needed
        return guarded

    return decorate


def demand_scopes(request: Request[Any], needed: Sequence[str]) -> None:
    """Raises `InsufficientScope` unless the `Client` that calls has a token with all of these."""
    if not has_required_scope(request, needed):
        claims = request.user.claims
        raise InsufficientScope(needed, client=claims.sub, session=claims.sid)
