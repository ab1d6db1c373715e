"""The shapes of what is sent to manage clients and keys. Here an unknown field is refused: it is a
pipeline's slip, which must not pass for a change that was made."""

from collections.abc import Mapping
from typing import Any

from marshmallow import RAISE, fields, validate

from authapi.web.schemas import Payload, text

MAX_SESSIONS = 999_999_999
"""That may live at once, of a client with a limit."""


class StrictPayload(Payload):
    """JSON, with no other fields."""

    class Meta:
        unknown = RAISE

    def read(self, sent: dict[str, Any]) -> dict[str, Any]:
        return dict(self.load(sent))


class Flag(fields.Boolean):
    """True or false, and no word for it."""

    def _deserialize(self, value: Any, *args: Any, **options: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Whole(fields.Integer):
    """A number of JSON without a fraction."""

    def _deserialize(self, value: Any, *args: Any, **options: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid", input=value)
        return value


class PublicKeyField(fields.Raw):
    """A PEM is a text, a JWK an object."""

    default_error_messages = {"invalid": "Not a PEM, and not a JWK."}

    def _deserialize(self, value: Any, *args: Any, **options: Any) -> str | Mapping[str, Any]:
        if not isinstance(value, str | dict):
            raise self.make_error("invalid")
        return value


def public_key() -> PublicKeyField:
    says = "In place of a secret: a PEM, a JWK, or a JWKS of one key."
    return PublicKeyField(metadata={"description": says, "type": ["string", "object"]})


def name(**options: Any) -> fields.String:
    return text("What it is called; nobody else is.", **options)


def scopes(**options: Any) -> fields.String:
    return text("All that it may do, with spaces between.", **options)


def metadata(**options: Any) -> fields.Dict:
    says = "What you note of it: texts under names."
    kinds = {"description": says, "additionalProperties": {"type": "string"}}
    return fields.Dict(metadata=kinds, **options)


class NewClientPayload(StrictPayload):
    name = name(required=True)
    scopes = scopes(load_default="")
    metadata = metadata(load_default=dict)
    public_key = public_key()


class ChangedClientPayload(StrictPayload):
    """What is left out stays as it is."""

    name = name()
    scopes = scopes()
    disabled = Flag(metadata={"description": "True ends its sessions, and lets it in no more."})
    metadata = metadata()
    login_limit = text("How often it may log in; null is as often as all.", allow_none=True)
    session_limit = Whole(
        allow_none=True,
        validate=validate.Range(1, MAX_SESSIONS),
        metadata={"description": "How many of its sessions may live at once; null is any number."},
    )


class NewKeyPayload(StrictPayload):
    expires_at = Whole(
        load_default=None,
        allow_none=True,
        metadata={"description": "When it ends, in epoch seconds; null is never."},
    )
    public_key = public_key()


class RotationPayload(StrictPayload):
    overlap = Whole(
        load_default=86_400,
        validate=validate.Range(1),
        metadata={"description": "For how many seconds the older keys go on."},
    )
    public_key = public_key()


class OwnRotationPayload(StrictPayload):
    client_key = text("The key that opened the session.")
    client_assertion = text("In its place: a JWT that the public key's owner has signed.")
    public_key = public_key()


class ShownKeyPayload(StrictPayload):
    client_key = text("The key that leaked, whole.")
    client_assertion = text("In its place: a JWT that the private key that leaked has signed.")


class LeakPayload(StrictPayload):
    text = text("A log, a diff, or whatever keys may stand in.", required=True)


NOTHING = StrictPayload()
NEW_CLIENT = NewClientPayload()
CHANGED_CLIENT = ChangedClientPayload()
NEW_KEY = NewKeyPayload()
ROTATION = RotationPayload()
LEAK = LeakPayload()
OWN_ROTATION = OwnRotationPayload()
SHOWN_KEY = ShownKeyPayload()
