"""GET /me: whose token this is."""

from collections.abc import Callable
from pathlib import Path

from starlette.testclient import TestClient

from tests import forge
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import NOW, Registered
from tests.sqlite import opened

Login = Callable[[], dict[str, str]]


def test_me_tells_the_client_its_session_and_its_time(
    api: TestClient, login: Login, registered: Registered, database_file: Path
) -> None:
    with opened(database_file) as database:
        database.execute("UPDATE clients SET scopes = 'read write'")
    token = login()["access_token"]
    assert assert_answer(api.get("/me", headers=bearer(token)), 200) == {
        "user_id": registered.id,
        "name": "reporting",
        "scopes": ["read", "write"],
        "created_at": int(NOW),
        "session_id": forge.claims_of(token)["sid"],
        "token_expires_at": int(NOW) + 900,
    }


def test_me_is_refused_without_a_token(api: TestClient) -> None:
    assert_refused(api.get("/me"), 401, "missing_token")


def test_me_is_refused_to_a_client_that_was_deleted(
    api: TestClient, login: Login, database_file: Path
) -> None:
    token = login()["access_token"]
    with opened(database_file) as database:
        database.execute("DELETE FROM clients")
    assert_refused(api.get("/me", headers=bearer(token)), 401, "invalid_token")
