"""Who may manage little gains nothing by what the catalogue says, and changes nobody."""

import asyncio
import json
from collections.abc import Iterator
from string import Template
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.credentials.client_keys import ClientKey, new_client_id, new_client_key
from authapi.engines.database import Database
from authapi.store import clients as registry
from settings import load_settings
from tests.attacks.recipes import Json, load, parameters
from tests.checks import assert_answer, bearer
from tests.conftest import NOW, SECRET, Clock, make_database
from tests.inline import Client

CASES = load("admin.json")
WHO = {
    "lesser": "admin:read admin:write reports:read",
    "greater": "admin:read admin:write reports:read reports:write",
    "reader": "admin:read",
}
USED = {"used": "used-by-the-attacker", "theirs": "used-by-the-greater-one"}


class Attacked:
    """One service for all cases: none may change a client of it."""

    def __init__(self, api: TestClient, names: dict[str, str], tokens: dict[str, str]) -> None:
        self.api = api
        self.names = names
        self.tokens = tokens

    def send(self, given: Json) -> Any:
        headers = bearer(self.tokens[given.get("as", "lesser")])
        headers |= {name: self._fill(value) for name, value in given.get("headers", {}).items()}
        content = given.get("text", json.dumps(given["body"]) if "body" in given else None)
        if content is not None:
            headers["Content-Type"] = given.get("type", "application/json")
        path = self._fill(given["path"])
        sent = None if content is None else self._fill(content)
        return self.api.request(given["method"], path, headers=headers, content=sent)

    def _fill(self, text: str) -> str:
        return Template(text).substitute(self.names)

    def registry(self) -> Any:
        """All clients with their keys, as the greater one sees them."""
        headers = bearer(self.tokens["greater"])
        clients = assert_answer(self.api.get("/admin/clients", headers=headers), 200)["clients"]
        keys = [
            assert_answer(
                self.api.get(f"/admin/clients/{client['user_id']}/keys", headers=headers), 200
            )["keys"]
            for client in clients
        ]
        decided = ("user_id", "name", "scopes", "disabled_at", "metadata")
        return (
            [{name: client[name] for name in decided} for client in clients],
            [(key["key_id"], key["expires_at"], key["revoked_at"]) for of in keys for key in of],
        )


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    url = f"sqlite:///{tmp_path_factory.mktemp('attacked')}/auth.db"
    ids = {name: new_client_id() for name in WHO}
    keys = {name: new_client_key() for name in WHO}

    async def prepare() -> None:
        await make_database(url)
        async with Database(url) as database:
            for name, scopes in WHO.items():
                made = (ids[name], name, keys[name], int(NOW), scopes)
                assert await registry.create_client(database, *made)

    asyncio.run(prepare())
    settings = load_settings({"SECRET_KEY": SECRET, "DATABASE_URL": url, "MANAGEMENT": "on"})
    with Client(create_app(settings, Clock())) as api:
        yield attack(api, ids, keys)


def attack(api: TestClient, ids: dict[str, str], keys: dict[str, ClientKey]) -> Attacked:
    """With a client that each of two administrators has made."""
    pairs = {
        name: assert_answer(api.post("/login", json={"client_key": keys[name].text}), 200)
        for name in WHO
    }
    tokens = {name: pair["access_token"] for name, pair in pairs.items()}
    tokens["refresh"] = pairs["lesser"]["refresh_token"]
    names = {"own": ids["lesser"], "greater": ids["greater"], "greater_key": keys["greater"].id}
    attacked = Attacked(api, names | USED, tokens)
    for who, key, name in (("lesser", "used", "mine"), ("greater", "theirs", "made")):
        headers = {"Idempotency-Key": USED[key]}
        given = {"as": who, "method": "POST", "path": "/admin/clients", "headers": headers}
        assert_answer(attacked.send(given | {"body": {"name": name}}), 201)
    return attacked


@pytest.mark.parametrize("case", parameters(CASES))
def test_it_is_refused_and_changes_nobody(attacked: Attacked, case: Json) -> None:
    before = attacked.registry()
    response = attacked.send(case["input"])
    expect = case["expect"]
    body = assert_answer(response, expect["status"])
    assert body["error"] == expect["error"]
    assert sorted(body.get("fields", {})) == expect.get("fields", [])
    assert "ck_" not in response.text
    assert attacked.registry() == before
