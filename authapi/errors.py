"""One class for each refusal: its status, its stable code, its prose and its challenge."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

CHALLENGE = 'Bearer realm="auth-api"'
"""RFC 6750, 3: a request without credentials gets the scheme and the realm, and no error code."""
BASIC_CHALLENGE = 'Basic realm="auth-api"'
"""RFC 6749, 5.2: the scheme by which a client may authenticate."""


class Refusal(Exception):
    """A request that is not granted. `error` is the code that clients may rely on.

    `event` is its name in the audit trail, if it belongs there; `reason` and `details` are for the
    operator, and never part of an answer. `fields` names the parts of a payload that are wrong.
    It is answered no sooner than `answer_at`, by `time.perf_counter`, where the time of an answer
    would give the reason away.
    """

    status: ClassVar[int]
    error: ClassVar[str]
    description: ClassVar[str]
    headers: Mapping[str, str] = {}
    event: ClassVar[str] = ""
    answer_at: float = 0

    def __init__(
        self, reason: str = "", fields: Mapping[str, list[str]] | None = None, **details: str
    ) -> None:
        super().__init__(reason or self.error)
        self.reason = reason
        self.fields = fields
        self.details = details

    def body(self) -> dict[str, object]:
        """The one shape of every error answer."""
        body: dict[str, object] = {"error": self.error, "error_description": self.description}
        if self.fields:
            body["fields"] = self.fields
        return body


class InvalidRequest(Refusal):
    """The request is malformed (RFC 6749, 5.2)."""

    status = 400
    error = "invalid_request"
    description = "The request is malformed, or a field is missing or of the wrong type."


class Unauthorized(Refusal):
    """Not authenticated. Every 401 carries a challenge (RFC 9110, 15.5.2)."""

    status = 401
    headers: Mapping[str, str] = {"WWW-Authenticate": CHALLENGE}


class MissingToken(Unauthorized):
    """A protected route was called without a bearer token (RFC 6750, 3.1)."""

    error = "missing_token"
    description = "This route needs an access token: Authorization: Bearer <access_token>."


class InvalidToken(Unauthorized):
    """The token is not ours or has expired, or its session was ended (RFC 6750, 3.1)."""

    error = "invalid_token"
    event = "token_refused"
    description = "The token is malformed, expired, revoked, or was not issued here."
    headers: Mapping[str, str] = {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}


class InvalidClient(Unauthorized):
    """The client key opens nothing (RFC 6749, 5.2), for whatever reason."""

    error = "invalid_client"
    event = "login_refused"
    description = "The client key is not valid."


class InvalidLogin(Unauthorized):
    """Whoever logs in at a route of your own is not let in, for whatever reason."""

    error = "invalid_login"
    event = "login_refused"
    description = "The login is not valid."


class RefusedClient(InvalidClient):
    """`InvalidClient` at an OAuth endpoint: the scheme to try is Basic (RFC 6749, 5.2)."""

    description = "The client credentials are not valid."
    headers: Mapping[str, str] = {"WWW-Authenticate": BASIC_CHALLENGE}


class RefusedProof(InvalidClient):
    """`InvalidClient` beside a token: what is shown is not the key that opened its session."""

    description = "The key or assertion is not valid, or is not of the key that opened the session."


class InvalidScope(Refusal):
    """The client asks for what it was not granted (RFC 6749, 5.2)."""

    status = 400
    error = "invalid_scope"
    event = "login_refused"
    description = "The scope is malformed, or has more than the client was granted."


class UnsupportedGrantType(Refusal):
    """There is no such grant (RFC 6749, 5.2)."""

    status = 400
    error = "unsupported_grant_type"
    description = "The grant_type is client_credentials or refresh_token."


class InsufficientScope(Refusal):
    """The token lacks some of the scopes that this route needs (RFC 6750, 3.1)."""

    status = 403
    error = "insufficient_scope"
    event = "token_refused"
    description = "The access token does not have the scope that this needs."

    def __init__(self, scopes: Sequence[str], **details: str) -> None:
        super().__init__("insufficient scope", None, **details)
        needed = f'error="insufficient_scope", scope="{" ".join(scopes)}"'
        self.headers = {"WWW-Authenticate": f"{CHALLENGE}, {needed}"}


class InvalidGrant(Unauthorized):
    """The refresh token is bad, spent or expired, or its session was ended (RFC 6749, 5.2)."""

    error = "invalid_grant"
    event = "refresh_refused"
    description = "The refresh token is not valid; log in again."


class RefusedGrant(InvalidGrant):
    """`InvalidGrant` where a client has authenticated, and no header is at fault: RFC 6749, 5.2."""

    status = 400
    description = "The token is not valid, or was issued to another client."
    headers: Mapping[str, str] = {}


class OthersToken(RefusedGrant):
    """A client asks to revoke what was issued to another one (RFC 7009, 2.1)."""

    event = "token_refused"


class ServerError(Refusal):
    """An error of the service (RFC 6749, 4.1.2.1)."""

    status = 500
    error = "server_error"
    description = "The service met a fault; it was logged."


class TemporarilyUnavailable(Refusal):
    """What is in the database cannot be known, so nothing can be judged (RFC 6749, 4.1.2.1)."""

    status = 503
    error = "temporarily_unavailable"
    description = "What is in the database cannot be known now; try again."
    headers: Mapping[str, str] = {"Retry-After": "1"}


class UnknownCursor(Refusal):
    """A verifier goes on from what this database never said (RFC 9110, 15.5.11)."""

    status = 410
    error = "unknown_cursor"
    description = "The cursor is of another database; forget what came with it, and begin anew."
