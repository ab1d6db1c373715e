"""What each endpoint of the service takes, answers and refuses, by its path."""

from authapi.errors import (
    InsufficientScope,
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    InvalidToken,
    MissingToken,
    OthersToken,
    RefusedClient,
    RefusedGrant,
    RefusedProof,
    TemporarilyUnavailable,
    UnknownCursor,
    UnsupportedGrantType,
)
from authapi.managing.refusals import KeyTaken, LastAdministrator
from authapi.openapi import answers, key_answers
from authapi.openapi.describing import Description
from authapi.request_errors import NotFound
from authapi.throttling.refusals import (
    TooManyFailures,
    TooManyKeys,
    TooManyLogins,
    TooManySessions,
)
from authapi.web.managing_schemas import OWN_ROTATION, SHOWN_KEY
from authapi.web.metadata import (
    INTROSPECTION_PATH,
    JWKS_PATH,
    METADATA_PATH,
    REVOCATION_PATH,
    TOKEN_PATH,
)
from authapi.web.schemas import GRANT, LOGIN, LOGOUT, REFRESH, REVOCATION, TOKEN

OWN_KEYS = "a client's own keys"
SESSIONS, OAUTH, PROXY, HEALTH = "sessions", "OAuth 2.0", "for a proxy", "health"
VERIFIERS = "for verifiers elsewhere"
_AS_CLIENT = (RefusedClient, TooManyFailures, TemporarilyUnavailable)
_TOO_MUCH = (TooManyLogins, TooManySessions)
_SCOPE = "Scopes with spaces between, all of which the token must have."

OURS = {
    "/login": Description(
        answers.LoginAnswer,
        takes=LOGIN,
        refuses=(
            InvalidClient,
            InvalidScope,
            TooManyFailures,
            *_TOO_MUCH,
            TemporarilyUnavailable,
        ),
        tag=SESSIONS,
    ),
    "/refresh-token": Description(
        answers.LoginAnswer,
        takes=REFRESH,
        refuses=(InvalidGrant, TemporarilyUnavailable),
        tag=SESSIONS,
    ),
    "/logout": Description(
        answers.LogoutAnswer,
        takes=LOGOUT,
        refuses=(MissingToken, InvalidToken, TemporarilyUnavailable),
        security="bearer or body",
        tag=SESSIONS,
    ),
    "/me": Description(answers.MeAnswer, tag=SESSIONS),
    "/secure-data": Description(answers.SecureDataAnswer, tag=SESSIONS),
    "/me/keys": Description(key_answers.OwnKeysAnswer, tag=OWN_KEYS),
    "/me/keys/rotate": Description(
        key_answers.OwnRotationAnswer,
        takes=OWN_ROTATION,
        refuses=(RefusedProof, KeyTaken, TooManyFailures, TooManyKeys),
        tag=OWN_KEYS,
    ),
    "/me/keys/{key_id}": Description(
        key_answers.OwnRevokedAnswer,
        refuses=(NotFound, LastAdministrator),
        path={"key_id": "The id of one of the client's keys."},
        tag=OWN_KEYS,
    ),
    "/me/keys/revoke": Description(
        key_answers.ShownKeyAnswer,
        takes=SHOWN_KEY,
        refuses=(TooManyFailures, TemporarilyUnavailable),
        tag=OWN_KEYS,
    ),
    TOKEN_PATH: Description(
        answers.GrantAnswer,
        takes=GRANT,
        refuses=(*_AS_CLIENT, UnsupportedGrantType, InvalidScope, RefusedGrant, *_TOO_MUCH),
        security="client",
        tag=OAUTH,
    ),
    REVOCATION_PATH: Description(
        answers.RevocationAnswer,
        takes=REVOCATION,
        refuses=(*_AS_CLIENT, OthersToken),
        security="client",
        tag=OAUTH,
    ),
    INTROSPECTION_PATH: Description(
        answers.IntrospectionAnswer, takes=TOKEN, refuses=_AS_CLIENT, security="client", tag=OAUTH
    ),
    METADATA_PATH: Description(
        answers.MetadataAnswer, refuses=(NotFound,), is_public=True, tag=OAUTH
    ),
    JWKS_PATH: Description(
        answers.JwksAnswer,
        refuses=(NotFound, TemporarilyUnavailable),
        is_public=True,
        tag=OAUTH,
    ),
    "/verify": Description(
        answers.VerifyAnswer,
        refuses=(InsufficientScope,),
        query={"scope": _SCOPE},
        headers={
            "X-Client-Id": "The client that calls.",
            "X-Client-Name": "Its name, percent-encoded where it is not ASCII.",
            "X-Scope": "What its token may do; perhaps nothing.",
        },
        tag=PROXY,
    ),
    "/revocations": Description(
        answers.FeedAnswer,
        refuses=(UnknownCursor,),
        query={
            "after": "The cursor of the answer before.",
            "wait": "Seconds to wait for news, from 0 to 5 with at most 3 decimals.",
        },
        headers={"Vary": "A large answer is compressed for who takes that."},
        tag=VERIFIERS,
    ),
    "/healthz": Description(answers.StatusAnswer, tag=HEALTH),
    "/readyz": Description(answers.StatusAnswer, refuses=(TemporarilyUnavailable,), tag=HEALTH),
    "/openapi.json": Description(answers.DocumentAnswer, is_public=True, tag=HEALTH),
}
