"""The shapes of what is answered with 200, each with an example."""

from typing import Any

from marshmallow import INCLUDE, RAISE, Schema, fields, validate

from authapi.credentials.claims import MAX_ACCESS_SECONDS, MAX_SESSION_SECONDS

JWT = r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"
A_CLIENT = "13b1fbdf1254c983b3ad"
A_SESSION = "SPbDGaV2BS8kfnzNP37cdA"
AN_ACCESS_TOKEN = "eyJhbGciOiJFUzI1NiIs.eyJpc3MiOiJhdXRoLWFwaSIs.mTYkQ9z0bX3qJr2v"  # noqa: S105
A_REFRESH_TOKEN = "eyJhbGciOiJFUzI1NiIs.eyJpc3MiOiJhdXRoLWFwaSIs.p0QeXq7Zk1dT8mNw"  # noqa: S105
A_CURSOR = "30594f35ac6c78d0-q3J8xw0aB1.812"
NOW = 1_800_000_000


class AnswerSchema(Schema):
    """Nothing else is in it."""

    class Meta:
        unknown = RAISE


def text(says: str, example: str, required: bool = True, **more: Any) -> fields.String:
    metadata = {"description": says, "examples": [example], **more}
    return fields.String(required=required, metadata=metadata)


def always(value: str | bool) -> fields.Field[Any]:
    kind = fields.Boolean if isinstance(value, bool) else fields.String
    return kind(required=True, metadata={"enum": [value]})


def client_id(says: str = "The client.") -> fields.String:
    return text(says, A_CLIENT, pattern="^[0-9a-f]{20}$")


def moment(says: str, required: bool = True) -> fields.Integer:
    metadata = {"description": f"{says} In epoch seconds.", "examples": [NOW]}
    return fields.Integer(required=required, metadata=metadata, validate=validate.Range(0, 2**53))


def seconds(says: str, most: int, example: int) -> fields.Integer:
    metadata = {"description": f"{says} In seconds from now.", "examples": [example]}
    return fields.Integer(required=True, metadata=metadata, validate=validate.Range(1, most))


def scope(says: str, required: bool = False) -> fields.String:
    return text(says, "reports:read", required, minLength=1)


class TokenAnswer(AnswerSchema):
    """RFC 6749, 5.1."""

    access_token = text("Opens the protected routes.", AN_ACCESS_TOKEN, pattern=JWT)
    token_type = always("Bearer")
    expires_in = seconds("When the access token ends.", MAX_ACCESS_SECONDS, 900)
    scope = scope("What the access token may do. Left out where that is nothing.")
    key_expires_at = moment("When the client key ends, if it does.", required=False)


class PairAnswer(TokenAnswer):
    """With what makes a session go on."""

    refresh_token = text("Exchange it for the next pair, once.", A_REFRESH_TOKEN, pattern=JWT)
    refresh_expires_in = seconds("When the session ends.", MAX_SESSION_SECONDS, 604_800)


class LoginAnswer(PairAnswer):
    """Of the endpoints that are this service's alone."""

    user_id = client_id()


class GrantAnswer(TokenAnswer):
    """The refresh token is there if one was shown."""

    refresh_token = text("The next one.", A_REFRESH_TOKEN, required=False, pattern=JWT)
    refresh_expires_in = fields.Integer(validate=validate.Range(1, MAX_SESSION_SECONDS))


class SecureDataAnswer(AnswerSchema):
    """What the token opens."""

    message = always("This is what the token opens.")
    user_id = client_id()


class MeAnswer(AnswerSchema):
    """Who calls, and in which session."""

    user_id = client_id()
    name = text("As its operator named it.", "billing", minLength=1)
    scopes = fields.List(
        text("One scope.", "reports:read", pattern=r"^\S+$"),
        required=True,
        metadata={"description": "What the token may do."},
    )
    created_at = moment("When the client was registered.")
    session_id = text("The session, in all of its tokens.", A_SESSION, pattern=r"^[\w-]{22}$")
    token_expires_at = moment("When the access token ends.")


class LogoutAnswer(AnswerSchema):
    """The session is over on every worker."""

    message = always("Logged out.")


class VerifyAnswer(AnswerSchema):
    """Empty: who calls is told in headers."""


class RevocationAnswer(AnswerSchema):
    """Empty (RFC 7009, 2.2)."""


class IntrospectionAnswer(AnswerSchema):
    """RFC 7662, 2.2. Of what is not active, nothing but that is told."""

    active = fields.Boolean(required=True, metadata={"examples": [True]})
    token_type = fields.String(metadata={"enum": ["Bearer"]})
    iss = text("TOKEN_ISSUER", "https://auth.example", required=False)
    aud = text("TOKEN_AUDIENCE", "auth-api", required=False)
    client_id = text("The client.", A_CLIENT, required=False)
    sub = text("The client, too.", A_CLIENT, required=False)
    sid = text("The session.", A_SESSION, required=False)
    jti = text("The token.", A_SESSION, required=False)
    iat = moment("When it was issued.", required=False)
    exp = moment("When it ends.", required=False)
    scope = scope("What it may do.")


class JwksAnswer(AnswerSchema):
    """RFC 7517, 5."""

    keys = fields.List(
        fields.Dict(keys=fields.String(), values=fields.String()),
        required=True,
        metadata={"description": "Public keys: `kty`, `use`, `alg`, `kid` and their members."},
    )


class FeedAnswer(AnswerSchema):
    """What a verifier adds to what it knows, and for how long all of it may be believed."""

    revoked = fields.Dict(
        keys=fields.String(),
        values=fields.Float(),
        required=True,
        metadata={
            "description": "When each id was ended: of a session, token or key; or of a client, "
            "whose tokens with an earlier `era` are dead.",
            "examples": [{A_SESSION: NOW + 0.25}],
        },
    )
    keys = fields.List(
        text("A `kid`.", "gxwhlWE6m7i2YKgz.30594f35ac6c78d0"),
        required=True,
        metadata={"description": "The keys in force: a token of any other is dead."},
    )
    purged_until = moment("A token that ends by then is dead, whatever a clock says.")
    cursor = text("Send it as `after` the next time.", A_CURSOR, pattern=r"^[0-9A-Za-z.-]{1,250}$")
    keep = seconds("For how long, from when they came, these ids may matter.", 2**53, 970)
    lease = fields.Float(required=True, metadata={"description": "FEED_LEASE_SECONDS"})
    fresh_for = fields.Float(
        metadata={
            "description": "Seconds, from when the request was sent, for which all that is now "
            "held may be believed. Absent where more follows at once.",
        },
    )


class OpenSchema(Schema):
    """With members besides, which another specification names."""

    class Meta:
        unknown = INCLUDE


class MetadataAnswer(OpenSchema):
    """RFC 8414, 2, with the members for each endpoint."""

    issuer = text("TOKEN_ISSUER", "https://auth.example")
    token_endpoint = text("Where tokens are granted.", "https://auth.example/oauth/token")
    grant_types_supported = fields.List(fields.String(), required=True)


class DocumentAnswer(OpenSchema):
    """This very document."""

    openapi = text("The version of OpenAPI.", "3.1.0")


class StatusAnswer(AnswerSchema):
    """All is well."""

    status = always("ok")
