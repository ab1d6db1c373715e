"""What whoever asks for tokens is answered with (RFC 6749, 5.1)."""

from typing import Any, NotRequired, TypedDict

from authapi.credentials.claims import Claims, new_id
from authapi.credentials.tokens import ACCESS, REFRESH, Tokens


class TokenAnswer(TypedDict):
    """An access token. `*_in` are seconds from now."""

    access_token: str
    token_type: str
    expires_in: int
    scope: NotRequired[str]
    """Left out where there is none."""
    key_expires_at: NotRequired[int]
    """When the client key that opened the session expires, if it does."""


class TokenPair(TokenAnswer):
    """With what makes the session go on."""

    refresh_token: str
    refresh_expires_in: int


class LoginAnswer(TokenPair):
    """Of the endpoints that are ours alone."""

    user_id: str


def issue_access(
    tokens: Tokens, session: Claims, now: int, key_expires_at: int | None
) -> TokenAnswer:
    """It does not outlive the session."""
    exp = min(now + tokens.access_seconds, session.exp)
    access = session._replace(jti=new_id(), iat=now, exp=exp)
    answer: TokenAnswer = {
        "access_token": tokens.issue(ACCESS, access),
        "token_type": "Bearer",
        "expires_in": exp - now,
    }
    if session.scope:
        answer["scope"] = session.scope
    if key_expires_at is not None:
        answer["key_expires_at"] = key_expires_at
    return answer


def issue_pair(tokens: Tokens, refresh: Claims, now: int, key_expires_at: int | None) -> TokenPair:
    """The session ends with its refresh token, whose claims these are."""
    return {
        **issue_access(tokens, refresh, now, key_expires_at),
        "refresh_token": tokens.issue(REFRESH, refresh),
        "refresh_expires_in": refresh.exp - now,
    }


def describe(tokens: Tokens, access: Claims) -> dict[str, Any]:
    """An access token that is active (RFC 7662, 2.2): what it says itself to everybody."""
    about = {
        "active": True,
        "token_type": "Bearer",
        "iss": tokens.issuer,
        "aud": tokens.audience,
        "client_id": access.sub,
    }
    said = {name: getattr(access, name) for name in ("sub", "sid", "jti", "iat", "exp")}
    return about | said | ({"scope": access.scope} if access.scope else {})
