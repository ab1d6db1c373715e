"""The OAuth endpoints answer as the catalogue says, and no secret comes out of them."""

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from string import Template
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.credentials.assertions import ASSERTION_TYPE
from authapi.credentials.client_keys import ClientKey, new_client_key
from authapi.engines.database import Database
from authapi.store import client_keys
from authapi.store import clients as registry
from settings import load_settings
from tests import forge
from tests.attacks.recipes import Json, load
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import NOW, SECRET, Clock, make_database
from tests.inline import Client

CASES = load("oauth.json")
PATHS = {"token": "/oauth/token", "revoke": "/oauth/revoke", "introspect": "/oauth/introspect"}
IDS = {"id": "ab12" * 5, "other_id": "cd34" * 5, "disabled_id": "ef56" * 5}
SECRETS = ("key", "other_key", "disabled_key", "revoked_key", "expired_key", "unknown_key")
FORM = "application/x-www-form-urlencoded"
SENT = [(case, place) for case in CASES for place in case["input"]["to"]]


class Attacked:
    """One service for all cases, with sessions of its own for each."""

    def __init__(self, api: TestClient, keys: dict[str, ClientKey]) -> None:
        self.api = api
        self._keys = keys

    def names(self) -> dict[str, str]:
        """What a case may name: ids, keys, and tokens that nobody has used."""
        texts = {name: key.text for name, key in self._keys.items()}
        key, client = texts["key"], IDS["id"]
        mine, others, ended, old = (
            self._log_in(texts[name]) for name in ("key", "other_key", "key", "key")
        )
        self.api.post("/logout", headers=bearer(ended["access_token"]))
        for token in (old["refresh_token"], self._refresh(old["refresh_token"])):
            self._refresh(token)
        return (
            texts
            | IDS
            | {
                "ID": client.upper(),
                "key_id": self._keys["key"].id,
                "encoded_key": key.replace("_", "%5F"),
                "twice_encoded_key": key.replace("_", "%255F"),
                "encoded_id": "".join(f"%{ord(letter):02x}" for letter in client),
                "basic": basic(f"{client}:{key}"),
                "jwt_bearer": ASSERTION_TYPE,
                "access": mine["access_token"],
                "refresh": mine["refresh_token"],
                "others_access": others["access_token"],
                "others_refresh": others["refresh_token"],
                "ended_access": ended["access_token"],
                "ended_refresh": ended["refresh_token"],
                "spent": old["refresh_token"],
                "forged": forge.token(sub=client, secret="k" * 32),
                "expired_access": forge.token(sub=client, iat=int(NOW) - 2000, exp=int(NOW) - 1100),
            }
        )

    def _log_in(self, key: str) -> dict[str, str]:
        pair: dict[str, str] = self.api.post("/login", json={"client_key": key}).json()
        return pair

    def _refresh(self, token: str) -> str:
        pair = self.api.post("/refresh-token", json={"refresh_token": token}).json()
        return str(pair["refresh_token"])


def basic(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    url = f"sqlite:///{tmp_path_factory.mktemp('oauth')}/auth.db"
    keys = {name: new_client_key() for name in SECRETS}
    asyncio.run(prepare(url, keys))
    settings = load_settings(
        {
            "SECRET_KEY": SECRET,
            "DATABASE_URL": url,
            "LOGIN_FAILURES_BY_ADDRESS": "1000000/second",
            "REVOCATION_MAX_AGE_SECONDS": "0",
        }
    )
    with Client(create_app(settings, Clock()), raise_server_exceptions=False) as api:
        yield Attacked(api, keys)


async def prepare(url: str, keys: dict[str, ClientKey]) -> None:
    now, scopes = int(NOW), "reports:read reports:write"
    await make_database(url)
    async with Database(url) as database:
        create = registry.create_client
        assert await create(database, IDS["id"], "attacked", keys["key"], now, scopes)
        assert await create(database, IDS["other_id"], "other", keys["other_key"], now)
        assert await create(database, IDS["disabled_id"], "disabled", keys["disabled_key"], now)
        await registry.disable_client(database, IDS["disabled_id"], NOW)
        for name, expires_at in (("revoked_key", None), ("expired_key", now)):
            await client_keys.add_key(database, IDS["id"], keys[name], now, expires_at)
        await client_keys.revoke_keys(database, [keys["revoked_key"].id], NOW)


def filled(content: Any, names: dict[str, str]) -> Any:
    """With the names in it; LARGE is more than a body may have."""
    match content:
        case "LARGE":
            return "x" * 16_384
        case str():
            return Template(content).substitute(names)
        case list():
            return [filled(each, names) for each in content]
        case dict():
            return {name: filled(value, names) for name, value in content.items()}
    return content


def send(api: TestClient, recipe: Json, place: str, names: dict[str, str]) -> Any:
    recipe = filled(recipe, names)
    headers = [("Authorization", value) for value in recipe.get("authorization", [])]
    if shown := recipe.get("basic_text") or ":".join(recipe.get("basic", [])):
        headers.append(("Authorization", f"Basic {basic(shown)}"))
    right = {"token": {"grant_type": "client_credentials"}}.get(place, {"token": names["access"]})
    form = {name: v for name, v in (right | recipe.get("form", {})).items() if v is not None}
    body: dict[str, Any] = {"content": recipe.get("body", urlencode(form))}
    content_type = recipe.get("type", FORM)
    if recipe.get("as") == "json":
        body, content_type = {"content": json.dumps(form)}, "application/json"
    if recipe.get("as") == "multipart":
        body, content_type = {"files": {name: (None, v) for name, v in form.items()}}, None
    if content_type:
        headers.append(("Content-Type", content_type))
    query = f"?{quote_plus(recipe['query'], safe='=&')}" if "query" in recipe else ""
    return api.post(PATHS[place] + query, headers=headers, **body)


@pytest.mark.parametrize(
    ("case", "place"),
    [pytest.param(case, place, id=f"{case['id']}-{place}") for case, place in SENT],
)
def test_it_is_answered_as_the_catalogue_says(
    attacked: Attacked, case: Json, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    names, expect = attacked.names(), case["expect"]
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    response = send(attacked.api, case["input"], place, names)
    if expect["status"] < 400:
        answer = assert_answer(response, expect["status"])
        assert filled(expect.get("answer", {}), names).items() <= answer.items()
        assert answer == expect.get("exactly", answer)
        return
    answer = assert_refused(response, expect["status"], expect["error"], scheme="Basic")
    fields = expect.get("fields", [])
    if fields == "required":
        fields = ["grant_type" if place == "token" else "token"]
    assert sorted(answer.get("fields", {})) == fields
    said = response.text + "".join(line.getMessage() + str(vars(line)) for line in ours(caplog))
    for name in (*SECRETS, "basic", "access", "refresh", "others_refresh", "spent"):
        assert names[name] not in said
        assert quote_plus(names[name]) not in said
    assert_nothing_is_spent(attacked.api, names)


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Not what the caller's own library says of its requests."""
    return [line for line in caplog.records if not line.name.startswith("http")]


def assert_nothing_is_spent(api: TestClient, names: dict[str, str]) -> None:
    """A refused request leaves the tokens as they were, its own and those of others."""
    for mine in ("access", "others_access"):
        assert_answer(api.get("/secure-data", headers=bearer(names[mine])), 200)
    for token in (names["refresh"], names["others_refresh"]):
        again = [
            assert_answer(api.post("/refresh-token", json={"refresh_token": token}), 200)
            for _ in range(2)  # the second is a repeat: had it been spent before, it would be theft
        ]
        assert again[0]["refresh_token"] == again[1]["refresh_token"]


def test_every_case_is_whole_and_none_is_there_twice() -> None:
    for part in ("id", "description", "input"):
        assert len({json.dumps(case[part]) for case in CASES}) == len(CASES), part
    for case in CASES:
        assert set(case) == {"id", "description", "reference", "input", "expect"}
        assert case["description"].endswith(".")
        assert set(case["input"]["to"]) <= set(PATHS)
        assert ("error" in case["expect"]) == (case["expect"]["status"] >= 400)
    assert sum(case["expect"]["status"] >= 400 for case in CASES) >= 80
