"""The service with MANAGEMENT on, on each engine, and administrators who call it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.store import clients as registry
from settings import Settings
from tests.checks import assert_answer, bearer
from tests.conftest import ENGINES, NOW, Do, url_for_settings

ROOT_SCOPES = "admin:read admin:write reports:read reports:write"


@dataclass
class Admin:
    """Whoever calls with this token of this client."""

    api: TestClient
    id: str
    key: str
    token: str

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {} if body is None else {"json": body}
        return self.api.request(method, path, headers=bearer(self.token) | named, **given)

    def get(self, path: str) -> Any:
        return assert_answer(self.call("GET", path), 200)

    def make(self, name: str, scopes: str = "", **more: Any) -> Any:
        body = {"name": name, "scopes": scopes} | more
        return assert_answer(self.call("POST", "/admin/clients", body), 201)

    def change(self, client_id: str, **changes: Any) -> Any:
        return assert_answer(self.call("PATCH", f"/admin/clients/{client_id}", changes), 200)


Administer = Callable[..., Admin]


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, database_file: Path) -> str:
    return url_for_settings(request, request.param, database_file)


on_one_engine = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What is judged before the database is asked, or alike on both."""


@pytest.fixture
def max_age() -> float:
    """Each change waits for it on PostgreSQL."""
    return 0.05


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, management="on")


@pytest.fixture
def administer(api: TestClient, do: Do) -> Administer:
    """Register a client as the operator does, and log it in."""

    def administer(name: str, scopes: str = ROOT_SCOPES, asked: str = "") -> Admin:
        client_id, key = new_client_id(), new_client_key()
        assert do(lambda db: registry.create_client(db, client_id, name, key, int(NOW), scopes))
        return Admin(api, client_id, key.text, log_in(api, key.text, asked)["access_token"])

    return administer


@pytest.fixture
def root(administer: Administer) -> Admin:
    return administer("root")


def log_in(api: TestClient, key: str, scope: str = "") -> Any:
    return assert_answer(api.post("/login", json={"client_key": key, "scope": scope}), 200)
