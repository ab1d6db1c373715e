"""What every answer of a kind has in common."""

from collections.abc import Mapping
from typing import Any, Protocol

BARE_CHALLENGE = 'Bearer realm="auth-api"'
INVALID_TOKEN_CHALLENGE = 'Bearer realm="auth-api", error="invalid_token"'


class Response(Protocol):
    """Of the TestClient as of a real HTTP client."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def text(self) -> str: ...
    def json(self) -> Any: ...


def in_capitals(id_: str) -> str:
    """No id any more; one in two thousand has no letter, and gets one."""
    return f"{id_[:-1]}A" if id_.isdigit() else id_.upper()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def assert_answer(response: Response, status: int) -> Any:
    """Any answer at all: JSON that no cache keeps."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    return response.json()


def assert_refused(
    response: Response, status: int, error: str, sent: str = "", scheme: str = "Bearer"
) -> Any:
    """A refusal of the one shape, with a challenge if it is a 401, and no echo of what was sent."""
    body = assert_answer(response, status)
    assert set(body) - {"fields"} == {"error", "error_description"}
    assert body["error"] == error
    assert isinstance(body["error_description"], str)
    challenge = INVALID_TOKEN_CHALLENGE if error == "invalid_token" else BARE_CHALLENGE
    challenge = challenge.replace("Bearer", scheme)
    assert response.headers.get("www-authenticate") == (challenge if status == 401 else None)
    assert not sent or sent not in response.text
    return body
