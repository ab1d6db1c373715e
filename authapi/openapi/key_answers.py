"""The shapes of what a client is answered about its own keys."""

from marshmallow import fields

from authapi.openapi.answers import AnswerSchema, always, client_id
from authapi.openapi.managing_answers import ListedKey, client_key, key_id, perhaps


class OwnKey(ListedKey):
    """Never the key itself, which nobody has but the client."""

    current = fields.Boolean(
        required=True,
        metadata={"description": "Whether it opened this session.", "examples": [True]},
    )


class OwnKeysAnswer(AnswerSchema):
    """The oldest first, at most a hundred: those that are open, and the newest of the others."""

    keys = fields.List(fields.Nested(OwnKey), required=True)


class OwnRotationAnswer(AnswerSchema):
    """The key opens sessions from now on; the older ones do, too, until they are ended."""

    user_id = client_id()
    client_key = client_key()
    key_id = key_id("The new key.")
    expires_at = perhaps("When it ends: with the key that opened this session.")


class OwnRevokedAnswer(AnswerSchema):
    """The key opens nothing, and its sessions are over, on every worker."""

    message = always("Revoked.")


class ShownKeyAnswer(AnswerSchema):
    """The same whatever was shown."""

    message = always("If that was a client key, it opens nothing any more.")
