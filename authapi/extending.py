"""All that routes of your own need: import from here, and no upgrade changes it unannounced."""

from auth_backend import Client, authenticated, requires_scope
from authapi.commands.running import run_on_database
from authapi.engines.database import Database
from authapi.errors import (
    InsufficientScope,
    InvalidLogin,
    InvalidRequest,
    InvalidScope,
    InvalidToken,
    Refusal,
    TemporarilyUnavailable,
)
from authapi.openapi.answers import LoginAnswer
from authapi.openapi.describing import Description, describes
from authapi.request_errors import NotFound
from authapi.subjects.registering import database_of, register_client
from authapi.subjects.sessions import begin_session, login_attempt
from authapi.throttling.refusals import TooManyFailures, TooManyLogins, TooManySessions
from authapi.web.answers import Answer
from authapi.web.bodies import read_payload
from authapi.web.endpoints import Endpoint
from authapi.web.schemas import Payload

__all__ = [
    "Answer",
    "Client",
    "Database",
    "Description",
    "Endpoint",
    "InsufficientScope",
    "InvalidLogin",
    "InvalidRequest",
    "InvalidScope",
    "InvalidToken",
    "LoginAnswer",
    "NotFound",
    "Payload",
    "Refusal",
    "TemporarilyUnavailable",
    "TooManyFailures",
    "TooManyLogins",
    "TooManySessions",
    "authenticated",
    "begin_session",
    "database_of",
    "describes",
    "login_attempt",
    "read_payload",
    "register_client",
    "requires_scope",
    "run_on_database",
]
