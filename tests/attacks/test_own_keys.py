"""A client's own keys are handled as the catalogue says, and those of others stay as they are."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from string import Template
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.credentials.assertions import read_public_key
from authapi.credentials.client_keys import ClientKey, new_client_id, new_client_key
from authapi.engines.database import Database
from authapi.store import client_keys
from authapi.store import clients as registry
from settings import load_settings
from tests import forge
from tests.assertions import claims
from tests.attacks.recipes import Json, load
from tests.checks import assert_answer, bearer, in_capitals
from tests.conftest import NOW, SECRET, Clock, make_database
from tests.inline import Client
from tests.signing import ES256

CASES = load("own_keys.json")
SCOPES = "keys:self reports:read"
PUBLIC = json.dumps(ES256().public)


@dataclass
class Attacked:
    """A client that attacks, with keys and tokens of every kind, and another one."""

    api: TestClient
    names: dict[str, str]
    tokens: dict[str, str]

    def send(self, case: Json) -> Any:
        asked = json.loads(Template(json.dumps(case["input"])).substitute(self.names))
        method, path = asked["send"].split()
        shown = self.tokens[asked.get("as", "self")]
        headers = bearer(shown) if shown else {}
        return self.api.request(method, path, headers=headers, json=asked.get("body"))


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    url = f"sqlite:///{tmp_path_factory.mktemp('own')}/auth.db"
    settings = load_settings(
        {
            "SECRET_KEY": SECRET,
            "DATABASE_URL": url,
            "LOGIN_FAILURES_BY_ADDRESS": "1000000/second",
            "REVOCATION_MAX_AGE_SECONDS": "0",
        }
    )
    keys = {name: new_client_key() for name in ("key", "foreign", "revoked", "expired")}
    own, foreign = new_client_id(), new_client_id()
    clock = Clock()
    asyncio.run(prepare(url, own, foreign, keys))
    with Client(create_app(settings, clock), raise_server_exceptions=False) as api:
        tokens = log_in(api, keys)
        clock.advance(1)
        asyncio.run(revoke(url, keys["revoked"].id))
        yield Attacked(api, names_of(keys, foreign, tokens["self"]), tokens)


async def prepare(url: str, own: str, foreign: str, keys: dict[str, ClientKey]) -> None:
    await make_database(url)
    async with Database(url) as database:
        now, public = int(NOW), read_public_key(PUBLIC.encode())
        assert await registry.create_client(database, own, "own", keys["key"], now, SCOPES)
        given = ("foreign", keys["foreign"], now, SCOPES)
        assert await registry.create_client(database, foreign, *given)
        await client_keys.add_key(database, foreign, public, now)
        await client_keys.add_key(database, own, keys["revoked"], now)
        await client_keys.add_key(database, own, keys["expired"], now, now + 1)


async def revoke(url: str, key_id: str) -> None:
    async with Database(url) as database:
        await client_keys.revoke_keys(database, [key_id], NOW + 1)


def log_in(api: TestClient, keys: dict[str, ClientKey]) -> dict[str, str]:
    """What may be shown, each by its name in the catalogue."""

    def pair(name: str, scope: str = SCOPES) -> Any:
        body = {"client_key": keys[name].text, "scope": scope}
        return assert_answer(api.post("/login", json=body), 200)

    ended = pair("key")["access_token"]
    assert_answer(api.post("/logout", headers=bearer(ended)), 200)
    return {
        "self": pair("key")["access_token"],
        "refresh": pair("key")["refresh_token"],
        "less": pair("key", "reports:read")["access_token"],
        "revoked": pair("revoked")["access_token"],
        "expired": pair("expired")["access_token"],
        "ended": ended,
        "key": keys["key"].text,
        "nobody": "",
    }


def names_of(keys: dict[str, ClientKey], foreign: str, token: str) -> dict[str, str]:
    other = new_client_key()
    return {
        "key": keys["key"].text,
        "key_id": keys["key"].id,
        "expired_key": keys["expired"].text,
        "token": token,
        "foreign_id": keys["foreign"].id,
        "foreign_key": keys["foreign"].text,
        "foreign_digest": keys["foreign"].digest,
        "foreign_client": foreign,
        "foreign_public": PUBLIC.replace('"', '\\"'),
        "unsigned": f"{forge.segment({'alg': 'none'})}.{forge.segment(claims(foreign))}.",
        "forged_key": keys["foreign"].text[:20] + other.text[20:],
        "own_id": keys["revoked"].id,
        "own_key": keys["revoked"].text,
        "OWN_ID": in_capitals(keys["key"].id),
    }


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_each_is_answered_as_the_catalogue_says(attacked: Attacked, case: Json) -> None:
    answer, expect = attacked.send(case), case["expect"]
    body = assert_answer(answer, expect["status"])
    assert body.get("error") == expect.get("error")
    assert set(body.get("fields", {})) == set(expect.get("fields", []))
    assert attacked.names["foreign_key"] not in answer.text
    # The other client has what it had, and the one that attacks is not ended by its own attack.
    body = {"client_key": attacked.names["foreign_key"]}
    theirs = bearer(assert_answer(attacked.api.post("/login", json=body), 200)["access_token"])
    keys = assert_answer(attacked.api.get("/me/keys", headers=theirs), 200)["keys"]
    assert [(key["revoked_at"], key["expires_at"], key["made_by"]) for key in keys] == [
        (None, None, None)
    ] * 2


def test_the_catalogue_can_be_read() -> None:
    ids = [case["id"] for case in CASES]
    assert len(set(ids)) == len(ids) > 25
    for case in CASES:
        assert set(case) == {"id", "description", "reference", "input", "expect"}
        assert case["description"].endswith(".")
