"""The shapes of what a client sends. Unknown fields are ignored, and never repeated."""

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, missing


class Payload(Schema):
    """What a client sends."""

    class Meta:
        unknown = EXCLUDE

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._has_rules = any(self._hooks.values())  # marshmallow's, of `@validates_schema` and kin

    def read(self, sent: dict[str, Any]) -> dict[str, Any]:
        """As `load`, whose way to the fields takes longer than all of them: 3 microseconds, a
        twenty-fifth of a login. Raises what it does."""
        if self._has_rules:
            return dict(self.load(sent))
        try:
            return {
                name: field.deserialize(sent.get(name, missing), name, sent)
                for name, field in self.load_fields.items()
            }
        except ValidationError:
            return dict(self.load(sent))  # raises for every field that is wrong, not for the first


def text(says: str, **options: Any) -> fields.String:
    return fields.String(metadata={"description": says}, **options)


_SCOPE = "What the token may do, if not all that the client was granted."
_WORDS = {each for each in fields.Boolean.truthy | fields.Boolean.falsy if isinstance(each, str)}
_VERIFIERS = "True answers when no verifier elsewhere accepts the token any more, either."
_BOOLEANS = [True, False, 1, 0, *sorted(_WORDS)]


def boolean(says: str) -> fields.Boolean:
    """False if it is left out."""
    metadata = {"description": says, "type": ["boolean", "string", "integer"], "enum": _BOOLEANS}
    return fields.Boolean(load_default=False, metadata=metadata)


class LoginPayload(Payload):
    client_key = text("It is shown once, when it is made.", required=True)
    scope = text(_SCOPE, load_default="")


class RefreshPayload(Payload):
    refresh_token = text("The newest of the session.", required=True)


class LogoutPayload(Payload):
    access_token = text("In place of the header.", load_default=None)
    everywhere = boolean("True ends every session of the client.")
    verifiers = boolean(_VERIFIERS)


class OAuthPayload(Payload):
    """A parameter without a value counts as left out (RFC 6749, 3.1 and 3.2)."""

    client_id = text("The client's `user_id`, in place of the header.", load_default=None)
    client_secret = text("A client key, in place of the header.", load_default=None)
    client_assertion_type = text("Beside an assertion: RFC 7523, 2.2.", load_default=None)
    client_assertion = text("A JWT that the client has signed.", load_default=None)

    def read(self, sent: dict[str, Any]) -> dict[str, Any]:
        return super().read({name: value for name, value in sent.items() if value != ""})


class GrantPayload(OAuthPayload):
    grant_type = text("client_credentials, or refresh_token.", required=True)
    scope = text(_SCOPE, load_default="")
    refresh_token = text("For the grant of that name.", load_default=None)


class TokenPayload(OAuthPayload):
    token = text("An access token, or a refresh token.", required=True)


class RevocationPayload(TokenPayload):
    verifiers = boolean(_VERIFIERS)


# Made once: a schema takes longer to make than to use.
LOGIN = LoginPayload()
REFRESH = RefreshPayload()
LOGOUT = LogoutPayload()
GRANT = GrantPayload()
TOKEN = TokenPayload()
REVOCATION = RevocationPayload()
