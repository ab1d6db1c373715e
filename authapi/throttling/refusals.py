"""Refusals of whoever asks too often, or would have too much."""

from authapi.errors import Refusal


class TooManyFailures(Refusal):
    """Too many logins failed, here or everywhere (RFC 6585, 4)."""

    status = 429
    error = "too_many_failures"
    event = "login_refused"
    description = "Too many logins have failed; try again later."

    def __init__(self, seconds: int) -> None:
        super().__init__("too many failed logins")
        self.headers = {"Retry-After": str(seconds)}


class TooManyLogins(Refusal):
    """The client has begun as many sessions as it may for now (RFC 6585, 4)."""

    status = 429
    error = "too_many_logins"
    event = "login_refused"
    description = "This client has logged in too often; use the tokens that it has."

    def __init__(self, seconds: int, **details: str) -> None:
        super().__init__("too many logins", None, **details)
        self.headers = {"Retry-After": str(seconds)}
