"""Refusals of whoever asks too often, or would have too much (RFC 6585, 4)."""

from authapi.errors import Refusal


class TooMany(Refusal):
    """Refused for so many seconds, from now on."""

    status = 429
    event = "login_refused"
    reason: str

    def __init__(self, seconds: int, **details: str) -> None:
        super().__init__(self.reason, None, **details)
        self.headers = {"Retry-After": str(seconds)}


class TooManyFailures(TooMany):
    """Too many logins failed, here or everywhere."""

    error = "too_many_failures"
    reason = "too many failed logins"
    description = "Too many logins have failed; try again later."


class TooManyLogins(TooMany):
    """The client has begun as many sessions as it may for now."""

    error = "too_many_logins"
    reason = "too many logins"
    description = "This client has logged in too often; use the tokens that it has."


class TooManySessions(TooMany):
    """The client has as many sessions that live as its operator allows."""

    error = "too_many_sessions"
    reason = "too many sessions"
    description = "This client has too many sessions; log out of one, or use the tokens it has."


class TooManyKeys(TooMany):
    """The client has as many keys as it may make."""

    error = "too_many_keys"
    event = "key_refused"
    reason = "too many keys"
    description = "This client has too many keys that are open or new; end some, or wait."
