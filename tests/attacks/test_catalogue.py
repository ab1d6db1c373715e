"""Whatever is forged, spelt or sent as the catalogue says is answered as it says."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.credentials.client_keys import new_client_key
from authapi.engines.database import Database
from authapi.store import clients as registry
from settings import load_settings
from tests.attacks.recipes import (
    BY_HEADER,
    CURRENT,
    FIELDS,
    PREVIOUS,
    TARGETS,
    Forger,
    Json,
    Request,
    load,
    parameters,
)
from tests.checks import assert_answer, assert_refused
from tests.conftest import NOW, Clock, make_database
from tests.counting import CountingDatabase
from tests.forge import ACCESS_CLAIMS
from tests.inline import Client
from tests.serving import Served, serve

TOKENS = load("tokens.json")
BODIES = load("bodies.json")
CALLED = {"/login": "invalid_client", "/refresh-token": "invalid_grant"}
"""What RFC 6749, 5.2 calls an `invalid_token` there."""


def targets(case: Json) -> list[str]:
    every = BY_HEADER if "send" in case["input"] else list(TARGETS)
    names: list[str] = case["input"].get("on", every)
    return names


def paths(case: Json) -> list[str]:
    names: list[str] = case["input"].get("on", list(FIELDS))
    return names


def is_refused(case: Json) -> bool:
    return bool(case["expect"]["status"] >= 400)


def prepare(database_url: str) -> str:
    """A database with the client that the tokens are for. Returns its key."""
    key = replace(new_client_key(), id=str(ACCESS_CLAIMS["key_id"]))
    owner = str(ACCESS_CLAIMS["sub"])

    async def create() -> None:
        await make_database(database_url)
        async with Database(database_url) as database:
            assert await registry.create_client(database, owner, "attacked", key, int(NOW))

    asyncio.run(create())
    return key.text


class Attacked:
    """One service for all cases; its clock stands still."""

    def __init__(self, api: TestClient, database: CountingDatabase, forger: Forger) -> None:
        self.api = api
        self.database = database
        self.forger = forger

    def send(self, request: Request) -> Any:
        self.database.asked.clear()
        return self.api.request(request.method, request.url, **request.arguments)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    database_url = f"sqlite:///{tmp_path_factory.mktemp('attacked')}/auth.db"
    key = prepare(database_url)
    settings = load_settings(
        {
            "SECRET_KEY": CURRENT,
            "LOGIN_FAILURES_BY_ADDRESS": "1000000/second",
            "SECRET_KEY_FALLBACKS": PREVIOUS,
            "DATABASE_URL": database_url,
            "REVOCATION_MAX_AGE_SECONDS": "60",
        }
    )
    database = CountingDatabase(settings.database_url)
    app = create_app(settings, Clock(), lambda url: database)
    with Client(app, raise_server_exceptions=False) as api:
        yield Attacked(api, database, Forger(NOW, key))


def check(case: Json, target: str, request: Request, response: Any) -> None:
    """The answer is the expected one, of the one shape, and repeats nothing of the request."""
    expect = case["expect"]
    where = f"{target}: {response.status_code} {response.text}"
    assert response.status_code == expect["status"], where
    if not is_refused(case):
        assert_answer(response, expect["status"])
        return
    error = expect["error"]
    if error == "invalid_token":
        error = CALLED.get(target, error)
    sent = request.secret if len(request.secret) > 20 else ""
    answer = assert_refused(response, expect["status"], error, sent)
    fields = [FIELDS.get(target, "") if name == "${field}" else name for name in _fields(expect)]
    assert sorted(answer.get("fields", {})) == sorted(fields), where
    assert "echo" not in response.text, where


def _fields(expect: Json) -> list[str]:
    fields: list[str] = expect.get("fields", [])
    return fields


def assert_nothing_is_logged(caplog: pytest.LogCaptureFixture, request: Request) -> None:
    for record in caplog.records:
        if not record.name.startswith(("httpx", "httpcore")):  # the callers' own
            assert len(request.secret) < 20 or request.secret not in record.getMessage()


@pytest.mark.parametrize("case", parameters(TOKENS))
def test_a_token_is_answered_as_the_catalogue_says(
    attacked: Attacked, case: Json, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for target in targets(case):
        request = attacked.forger.token_request(case["id"], case["input"], target)
        check(case, target, request, attacked.send(request))
        if is_refused(case) and not case["expect"].get("asks"):
            assert attacked.database.asked == [], target
        assert_nothing_is_logged(caplog, request)


@pytest.mark.parametrize("case", parameters(BODIES))
def test_a_body_is_answered_as_the_catalogue_says(
    attacked: Attacked, case: Json, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for path in paths(case):
        request = attacked.forger.body_request(case["id"], case["input"], path)
        check(case, path, request, attacked.send(request))
        assert_nothing_is_logged(caplog, request)


def test_the_database_is_not_asked_before_the_signature_holds(attacked: Attacked) -> None:
    """A stranger's token costs us a hash and no more; the same token, signed, is asked about."""
    for key, is_ours in (("current", True), ("previous", False), ("unknown", False)):
        for target in ("/logout", "/logout body", "/refresh-token"):
            recipe = {"signature": {"key": key}}
            attacked.send(attacked.forger.token_request(f"asked-{key}", recipe, target))
            assert bool(attacked.database.asked) == is_ours, (key, target)


def test_the_catalogue_is_as_large_as_was_asked() -> None:
    assert sum(is_refused(case) for case in TOKENS) >= 300
    assert sum(is_refused(case) for case in BODIES) >= 150
    for cases in (TOKENS, BODIES):
        assert sum(not is_refused(case) for case in cases) >= 10  # what must be accepted


@pytest.mark.parametrize("cases", [TOKENS, BODIES], ids=["tokens", "bodies"])
def test_every_case_is_whole_and_none_is_there_twice(cases: list[Json]) -> None:
    assert len({case["id"] for case in cases}) == len(cases)
    assert len({str(sorted(case["input"].items())) for case in cases}) == len(cases)
    assert len({case["description"] for case in cases}) == len(cases)
    for case in cases:
        assert set(case) - {"known"} == {"id", "description", "reference", "input", "expect"}
        assert case["id"].replace("-", "").isalnum(), case["id"]
        assert case["id"] == case["id"].lower()
        assert case["description"].endswith("."), case["id"]
        assert len(case["reference"]) >= 6, case["id"]
        assert ("error" in case["expect"]) == is_refused(case), case["id"]


def test_every_refused_case_sends_something_else_than_a_right_request() -> None:
    """A recipe that did nothing would be refused for another reason, or be no case at all."""
    forger = Forger(NOW, "")
    for case in filter(is_refused, TOKENS):
        for target in targets(case):
            untouched = forger.token_request(case["id"], {}, target)
            assert forger.token_request(case["id"], case["input"], target) != untouched


# Over a real socket


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    folder = tmp_path_factory.mktemp("served")
    key = prepare(f"sqlite:///{folder}/auth.db")
    environ = {
        "SECRET_KEY": CURRENT,
        "SECRET_KEY_FALLBACKS": PREVIOUS,
        "LOGIN_FAILURES_BY_ADDRESS": "1000000/second",
        "LOG_LEVEL": "debug",
    }
    with serve(folder, **environ) as served:
        yield served, key


def over_the_socket(cases: list[Json], every: int = 10) -> list[Json]:
    """Those whose answer does not hang on the second, each tenth of them."""
    return [case for case in cases if not case["input"].get("exact") and "known" not in case][
        ::every
    ]


def test_a_part_of_it_is_answered_the_same_over_a_socket_and_nothing_is_logged(
    served: tuple[Served, str],
) -> None:
    service, key = served
    secrets = {CURRENT, PREVIOUS, key}
    ways: list[tuple[list[Json], Callable[[Json], list[str]], str]] = [
        (TOKENS, targets, "token_request"),
        (BODIES, paths, "body_request"),
    ]
    number = 0
    with httpx.Client(base_url=service.url) as client:
        for cases, places, make in ways:
            for case in over_the_socket(cases):
                for place in places(case):
                    forge = getattr(Forger(time.time(), key), make)
                    request: Request = forge(case["id"], case["input"], place)
                    if request.is_plain:
                        response = client.request(request.method, request.url, **request.arguments)
                        check(case, place, request, response)
                        secrets.add(request.secret)
                        number += 1
    assert number >= 100
    console = service.console
    assert "Traceback" not in console
    for secret in secrets:
        assert len(secret) < 20 or secret not in console
        assert len(secret) < 40 or secret[-20:] not in console
