"""The shapes of what a client sends. Unknown fields are ignored, and never repeated."""

from marshmallow import EXCLUDE, Schema, fields


class Payload(Schema):
    """What a client sends."""

    class Meta:
        unknown = EXCLUDE


class LoginPayload(Payload):
    client_key = fields.String(required=True)
    scope = fields.String(load_default="")


class RefreshPayload(Payload):
    refresh_token = fields.String(required=True)


class LogoutPayload(Payload):
    access_token = fields.String(load_default=None)
    everywhere = fields.Boolean(load_default=False)


# Made once: a schema takes longer to make than to use.
LOGIN = LoginPayload()
REFRESH = RefreshPayload()
LOGOUT = LogoutPayload()
