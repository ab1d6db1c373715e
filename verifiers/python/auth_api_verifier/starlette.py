"""For Starlette and FastAPI: `request.user`, `request.auth.scopes`, and refusals by HTTP."""

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
)
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from auth_api_verifier.tokens import Claims, Refused, VerifierError, bearer_token
from auth_api_verifier.verifier import Verifier


class Client(SimpleUser):
    """The client whose token came with the request. `identity` is its `sub`."""

    def __init__(self, claims: Claims) -> None:
        super().__init__(claims.sub)
        self.claims = claims

    @property
    def identity(self) -> str:
        return self.claims.sub


class VerifierBackend(AuthenticationBackend):
    """A caller without a token stays anonymous: what it may reach is a matter of the routes."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, Client] | None:
        headers = conn.headers.getlist("Authorization")
        try:
            if len(headers) > 1:
                raise Refused("several Authorization headers")
            token = bearer_token("".join(headers))
            if token is None:
                return None
            claims = await self._verifier.verify(token)
        except VerifierError as reason:
            raise AuthenticationError(reason) from None
        return AuthCredentials(["authenticated", *claims.scopes]), Client(claims)


verifier_backend = VerifierBackend


def on_error(conn: HTTPConnection, error: AuthenticationError) -> JSONResponse:
    """For `AuthenticationMiddleware`: a 401 or a 503 as the token deserves it."""
    reason = next((each for each in error.args if isinstance(each, VerifierError)), Refused())
    return JSONResponse({"error": reason.error}, reason.status, dict(reason.headers))
