"""What a login and a refresh are answered with: an access token and a refresh token."""

from typing import NotRequired, TypedDict

from authapi.credentials.claims import Claims, new_id
from authapi.credentials.tokens import ACCESS, REFRESH, Tokens


class TokenPair(TypedDict):
    """The answer to a login or a refresh (RFC 6749, 5.1). `*_in` are seconds from now."""

    access_token: str
    refresh_token: str
    user_id: str
    token_type: str
    expires_in: int
    refresh_expires_in: int
    scope: NotRequired[str]
    """Left out where there is none."""
    key_expires_at: NotRequired[int]
    """When the client key that opened the session expires, if it does."""


def issue_pair(tokens: Tokens, refresh: Claims, now: int, key_expires_at: int | None) -> TokenPair:
    """Neither token outlives the session, which ends with the refresh token."""
    exp = min(now + tokens.access_seconds, refresh.exp)
    access = refresh._replace(jti=new_id(), iat=now, exp=exp)
    pair: TokenPair = {
        "access_token": tokens.issue(ACCESS, access),
        "refresh_token": tokens.issue(REFRESH, refresh),
        "user_id": refresh.sub,
        "token_type": "Bearer",
        "expires_in": exp - now,
        "refresh_expires_in": refresh.exp - now,
    }
    if refresh.scope:
        pair["scope"] = refresh.scope
    if key_expires_at is not None:
        pair["key_expires_at"] = key_expires_at
    return pair
