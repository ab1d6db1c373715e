"""From the `Authorization` header to `request.user`: identifies, and never refuses.

The middleware runs on every path, and a client with a stale header must still reach `/login`. So
the backend only notes why a caller is nobody, and `@authenticated` refuses for that reason.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from authapi.credentials.claims import Claims
from authapi.credentials.scopes import is_within, read_scopes
from authapi.credentials.tokens import ACCESS, Tokens
from authapi.errors import InsufficientScope, InvalidRequest, InvalidToken, MissingToken, Refusal
from authapi.rules.revocations import Revocations
from authapi.web.answers import Handler, refuse
from authapi.web.headers import Headers, values_of


class Client(BaseUser):
    """The client whose access token came with the request. `identity` is its `user_id`."""

    def __init__(self, claims: Claims) -> None:
        self.claims = claims

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def identity(self) -> str:
        return self.claims.sub

    @property
    def display_name(self) -> str:
        return self.claims.sub


class Anonymous(BaseUser):
    """Nobody that we know, and the refusal that a protected route answers."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal

    @property
    def is_authenticated(self) -> bool:
        return False

    @property
    def identity(self) -> str:
        return ""

    @property
    def display_name(self) -> str:
        return ""


class BearerBackend(AuthenticationBackend):
    def __init__(self, tokens: Tokens, revocations: Revocations) -> None:
        self._tokens = tokens
        self._revocations = revocations

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:
        try:
            token = extract_bearer(conn.scope["headers"])
            if token is None:
                return AuthCredentials(), Anonymous(MissingToken())
            claims = self._tokens.verify(ACCESS, token)
            if await self._revocations.is_ended(claims):
                raise InvalidToken("ended session", client=claims.sub, session=claims.sid)
        except Refusal as refusal:
            # Its traceback would hold the request, which holds the stranger: a circle that only
            # the garbage collector could undo, at a tenth of the price of a login.
            return AuthCredentials(), Anonymous(refusal.with_traceback(None))
        return AuthCredentials(claims.scope.split()), Client(claims)


def extract_bearer(headers: Headers) -> str | None:
    """The token of the one `Authorization: Bearer` header (RFC 6750, 2.1), if there is one: a
    header of another scheme is none. Raises `InvalidRequest` if there are several headers.
    """
    values = values_of(b"authorization", headers)
    if len(values) > 1:
        raise InvalidRequest("several Authorization headers")
    scheme, _, token = b"".join(values).decode("latin-1").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def authenticated(handler: Handler) -> Handler:
    """Let in nobody but a `Client`."""

    @wraps(handler)
    async def guarded(request: Request[Any]) -> Response:
        if isinstance(request.user, Anonymous):
            return refuse(request, request.user.refusal)
        return await handler(request)

    return guarded


def requires_scope(*scopes: str) -> Callable[[Handler], Handler]:
    """Let in nobody but a `Client` whose token has all of these scopes.

    Raises `ValueError`, as the module is imported, for what is no scope.
    """
    needed = read_scopes(" ".join(scopes))

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        async def scoped(request: Request[Any]) -> Response:
            if not is_within(needed, request.user.claims.scope):
                claims = request.user.claims
                raise InsufficientScope(needed, client=claims.sub, session=claims.sid)
            return await handler(request)

        return authenticated(scoped)

    return decorate
