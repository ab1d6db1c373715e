"""What a test does with a session, and what it then expects."""

from typing import Any

from starlette.testclient import TestClient

from tests.checks import assert_answer, assert_refused, bearer


def refresh(api: TestClient, token: str) -> dict[str, Any]:
    pair: dict[str, Any] = assert_answer(
        api.post("/refresh-token", json={"refresh_token": token}), 200
    )
    return pair


def assert_not_refreshed(api: TestClient, token: str) -> None:
    response = api.post("/refresh-token", json={"refresh_token": token})
    assert_refused(response, 401, "invalid_grant", token)


def assert_session_is_over(api: TestClient, *pairs: dict[str, Any]) -> None:
    for pair in pairs:
        response = api.get("/secure-data", headers=bearer(pair["access_token"]))
        assert_refused(response, 401, "invalid_token")
        assert_not_refreshed(api, pair["refresh_token"])


def log_out(api: TestClient, token: str, **body: Any) -> None:
    response = api.post("/logout", headers=bearer(token), json=body)
    assert assert_answer(response, 200) == {"message": "Logged out."}


def assert_alive(api: TestClient, pair: dict[str, str]) -> None:
    assert_answer(api.get("/secure-data", headers=bearer(pair["access_token"])), 200)
    refresh(api, pair["refresh_token"])
