"""All that routes of your own need: import from here, and no upgrade changes it unannounced."""

from auth_backend import Client, authenticated, requires_scope
from authapi.errors import (
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    Refusal,
    TemporarilyUnavailable,
)
from authapi.http_errors import NotFound
from authapi.openapi.describing import Description, describes
from authapi.web.answers import Answer, Endpoint
from authapi.web.bodies import read_payload
from authapi.web.schemas import Payload

__all__ = [
    "Answer",
    "Client",
    "Description",
    "Endpoint",
    "InsufficientScope",
    "InvalidRequest",
    "InvalidToken",
    "NotFound",
    "Payload",
    "Refusal",
    "TemporarilyUnavailable",
    "authenticated",
    "describes",
    "read_payload",
    "requires_scope",
]
