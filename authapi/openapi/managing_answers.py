"""The shapes of what is answered to whoever manages clients and keys."""

from typing import Any

from marshmallow import fields, validate

from authapi.openapi.answers import NOW, AnswerSchema, always, client_id, moment, text
from authapi.web.managing_schemas import MAX_SESSIONS

A_KEY = "9f86d081884c7d65"
A_CLIENT_KEY = f"ck_{A_KEY}_..."
A_CURSOR = "1800000000-13b1fbdf1254c983b3ad"


def perhaps(says: str) -> fields.Integer:
    metadata = {"description": f"{says} In epoch seconds, or null.", "examples": [NOW]}
    least = validate.Range(0, 2**53)
    return fields.Integer(required=True, allow_none=True, metadata=metadata, validate=least)


def key_id(says: str = "The key.", allow_none: bool = False) -> fields.String:
    metadata = {"description": says, "examples": [A_KEY], "pattern": "^[0-9a-f]{16}$"}
    return fields.String(required=True, allow_none=allow_none, metadata=metadata)


def maker() -> fields.String:
    return key_id("The key by which the client made it itself, or null.", allow_none=True)


def client_key() -> fields.String:
    return text("Shown this once. Absent where a public key was given.", A_CLIENT_KEY, False)


def count(says: str) -> fields.Integer:
    return fields.Integer(
        required=True, metadata={"description": says}, validate=validate.Range(0, 2**53)
    )


def key_ids(says: str) -> fields.List[str]:
    return fields.List(key_id("The id of a key."), required=True, metadata={"description": says})


class ClientAnswer(AnswerSchema):
    """What somebody decides of a client."""

    user_id = client_id()
    name = text("What it is called.", "billing", minLength=1)
    scopes = text("All that it may do, with spaces between.", "reports:read")
    metadata = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "What was noted of it.", "examples": [{"team": "payments"}]},
    )
    created_at = moment("When it was registered.")
    disabled_at = perhaps("Since when it is let in no more.")
    login_limit = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "How often it may log in, or null.", "examples": ["600/hour"]},
    )
    session_limit = fields.Integer(
        required=True,
        allow_none=True,
        validate=validate.Range(1, MAX_SESSIONS),
        metadata={"description": "How many sessions of it may live, or null.", "examples": [20]},
    )


class NewClientAnswer(ClientAnswer):
    """With its first key."""

    key_id = key_id()
    client_key = client_key()


class ListedClient(ClientAnswer):
    """With what happens to its keys."""

    open_keys = count("How many of its keys open something.")
    last_used_at = perhaps("When any of them was used last, known within a minute.")


def cursor() -> fields.String:
    return text("Send it as `after` for the next page; absent on the last.", A_CURSOR, False)


class ClientsAnswer(AnswerSchema):
    """A page of clients."""

    clients = fields.List(fields.Nested(ListedClient), required=True)
    cursor = cursor()


class DeletedAnswer(AnswerSchema):
    """Nothing of it lives."""

    user_id = client_id()
    name = text("What it was called.", "billing")
    deleted = always(True)


class SessionsEndedAnswer(AnswerSchema):
    """Every session that it had is over."""

    user_id = client_id()
    name = text("What it is called.", "billing")
    sessions_ended = always(True)


class ListedKey(AnswerSchema):
    """Not the key itself, which nobody has."""

    key_id = key_id()
    kind = text("`secret`, or the algorithm that a public key is for.", "secret")
    created_at = moment("When it was made.")
    expires_at = perhaps("When it ends.")
    revoked_at = perhaps("When it was revoked.")
    last_used_at = perhaps("When it was used last, known within a minute.")
    uses = count("How often it was used.")
    made_by = maker()


class KeyAnswer(ListedKey):
    """With whose it is."""

    user_id = client_id()
    name = text("What its client is called.", "billing")


class KeysAnswer(AnswerSchema):
    """A page of keys."""

    keys = fields.List(fields.Nested(ListedKey), required=True)
    cursor = cursor()


class NewKeyAnswer(AnswerSchema):
    """A client's new key."""

    user_id = client_id()
    client_key = client_key()
    key_id = key_id()
    expires_at = perhaps("When it ends.")


class RotationAnswer(AnswerSchema):
    """A client's new key, and those that end."""

    user_id = client_id()
    client_key = client_key()
    key_id = key_id()
    old_keys: Any = fields.List(fields.Nested(ListedKey), required=True)


class OwnerAnswer(AnswerSchema):
    """Whose a key is."""

    user_id = client_id()
    name = text("What it is called.", "billing")
    open_keys = count("How many of its keys still open something.")


class RevokedAnswer(AnswerSchema):
    """Ids of keys, and whose each is that is ours."""

    revoked = key_ids("They open nothing from now on.")
    already_revoked = key_ids("They did not before, either.")
    unknown = key_ids("They are none of ours.")  # type: ignore[assignment]  # a field, here
    owners = fields.Dict(keys=fields.String(), values=fields.Nested(OwnerAnswer), required=True)
