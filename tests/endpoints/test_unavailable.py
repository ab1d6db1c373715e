"""The database gone, emptied or replaced: 503, and never 200 and never a new database."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import Registered
from tests.sqlite import opened

Login = Callable[[], dict[str, str]]


@pytest.fixture
def max_age() -> float:
    """The tests here change the database by hand."""
    return 0


def remove(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def replace(file: Path) -> None:
    copy = file.with_suffix(".copy")
    shutil.copy(file, copy)
    copy.rename(file)


def drop_tables(file: Path) -> None:
    with opened(file) as database:
        for table in ("revoked_jtis", "client_keys", "clients"):
            database.execute(f"DROP TABLE {table}")


@pytest.mark.parametrize("harm", [remove, empty, replace, drop_tables])
def test_without_its_database_the_service_is_unavailable(
    api: TestClient,
    login: Login,
    registered: Registered,
    database_file: Path,
    harm: Callable[[Path], Any],
) -> None:
    pair = login()
    harm(database_file)
    size = database_file.stat().st_size if database_file.exists() else None
    headers = bearer(pair["access_token"])
    for response in (
        api.post("/login", json={"client_key": registered.key}),
        api.get("/secure-data", headers=headers),
        api.get("/me", headers=headers),
        api.post("/refresh-token", json={"refresh_token": pair["refresh_token"]}),
        api.post("/logout", headers=headers),
        api.get("/readyz"),
    ):
        assert_refused(response, 503, "temporarily_unavailable")
        assert response.headers["retry-after"] == "1"
    assert_answer(api.get("/healthz", headers=headers), 200)
    assert_refused(api.get("/secure-data", headers=bearer("x.y.z")), 401, "invalid_token")
    assert (database_file.stat().st_size if database_file.exists() else None) == size


def test_when_its_file_is_back_the_service_is_too(
    api: TestClient, login: Login, database_file: Path
) -> None:
    headers = bearer(login()["access_token"])
    aside = database_file.with_suffix(".aside")
    database_file.rename(aside)
    assert_refused(api.get("/secure-data", headers=headers), 503, "temporarily_unavailable")
    aside.rename(database_file)
    assert_answer(api.get("/secure-data", headers=headers), 200)
