"""The shapes of requests and answers. Unknown fields are ignored, and never repeated."""

from marshmallow import EXCLUDE, Schema, fields


class Payload(Schema):
    """What a client sends."""

    class Meta:
        unknown = EXCLUDE


class LoginPayload(Payload):
    client_key = fields.String(required=True)


class RefreshPayload(Payload):
    refresh_token = fields.String(required=True)


class LogoutPayload(Payload):
    access_token = fields.String(load_default=None)
    everywhere = fields.Boolean(load_default=False)


class TokenAnswer(Schema):
    """RFC 6749, 5.1, and whose tokens these are. `*_in` are seconds from now."""

    access_token = fields.String()
    refresh_token = fields.String()
    user_id = fields.String()
    token_type = fields.Constant("Bearer")
    expires_in = fields.Integer()
    refresh_expires_in = fields.Integer()


class SecureDataAnswer(Schema):
    message = fields.String()
    user_id = fields.String()


class MeAnswer(Schema):
    """`*_at` are epoch seconds."""

    user_id = fields.String()
    name = fields.String()
    scopes = fields.List(fields.String())
    created_at = fields.Integer()
    session_id = fields.String()
    token_expires_at = fields.Integer()


class MessageAnswer(Schema):
    message = fields.String()


class StatusAnswer(Schema):
    status = fields.String()
