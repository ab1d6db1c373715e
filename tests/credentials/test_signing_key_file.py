"""The file of signing keys: private, replaced at once, picked up while the service runs."""

import asyncio
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.credentials import signing_key_file as key_file
from authapi.credentials.signing_key_file import KeyFileError, WatchedKeys
from authapi.credentials.signing_keys import SigningKey, from_jwk
from authapi.credentials.signing_schedule import Schedule
from settings import Settings
from tests import forge, signing
from tests.checks import assert_refused, bearer
from tests.conftest import DATABASE_ID, NOW, Clock, Registered
from tests.serving import run
from tests.signing import ES256, RS256, Ed25519

WEEK = 604_800
SCHEDULE = Schedule(max_age_seconds=3600, refresh_seconds=WEEK, leeway_seconds=10)
ES = ES256("es")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return signing.write(tmp_path / "keys.json", ES.jwk)


@pytest.fixture
def api(settings: Settings, clock: Clock, path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(replace(settings, signing_keys_file=str(path)), clock)) as client:
        yield client


CONTENTS: dict[str, tuple[str, str]] = {
    "empty": ("", "is no JSON object with a list of `keys`"),
    "cut off": ('{"keys": [', "is no JSON object with a list of `keys`"),
    "a list": ("[]", "is no JSON object with a list of `keys`"),
    "another object": ("{}", "is no JSON object with a list of `keys`"),
    "keys that are no list": ('{"keys": {}}', "is no JSON object with a list of `keys`"),
    "no key": ('{"keys": []}', "has no key that signs: run `manage.py new-signing-key`"),
    "public": (json.dumps({"keys": [ES.public]}), "key 1 of 1: it is a public key"),
    "twice": (json.dumps({"keys": [ES.jwk, ES.jwk]}), "key 2 of 2: an earlier one has the same"),
    "short": (
        json.dumps({"keys": [ES.jwk, RS256(bits=1024).jwk]}),
        "key 2 of 2: its RSA key is shorter than 2048 bits",
    ),
    "retired": (
        json.dumps({"keys": [ES256(signs_from=1, signs_until=2, retires_at=3).jwk]}),
        "has no key that signs",
    ),
    "an end in sight": (
        json.dumps({"keys": [ES256(signs_from=1, signs_until=int(NOW) * 2).jwk]}),
        "has no key that signs",
    ),
}


@pytest.mark.parametrize("fault", CONTENTS)
def test_a_file_that_is_at_fault_is_told_in_a_line(path: Path, fault: str) -> None:
    content, reason = CONTENTS[fault]
    path.write_text(content)
    with pytest.raises(KeyFileError, match=reason) as caught:
        key_file.read_live(str(path), NOW)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert ES.jwk["d"] not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o601, 0o620, 0o660, 0o666])
def test_a_file_that_is_open_to_others_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"open to others than its owner: chmod 600 {path}"):
        key_file.read(str(path))
    path.chmod(0o400)
    assert [key.kid for key in key_file.read(str(path))] == ["es"]


def test_a_file_that_is_not_there_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(KeyFileError, match=r"cannot be read \(.+new-signing-key"):
            key_file.read(str(path))


def test_a_plain_jwks_will_do_and_its_last_key_signs(path: Path, clock: Clock) -> None:
    signing.write(path, ES.jwk, Ed25519("ed").jwk)
    keys = key_file.read_live(str(path), NOW)
    assert [(key.kid, key.state(NOW)) for key in keys] == [("es", "signing"), ("ed", "signing")]


def test_what_is_written_is_private_and_is_read_again(path: Path) -> None:
    keys = [from_jwk(ES256("a", note="of ours", signs_from=5).jwk), from_jwk(RS256("b").jwk)]
    os.chown(path, 1000, 1000) if os.geteuid() == 0 else None
    before = path.stat()
    key_file.write(str(path), keys)
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o600
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino
    assert [key.private() for key in key_file.read(str(path))] == [
        key.private() | {"published_at": 0, "signs_from": key.signs_from} for key in keys
    ]
    assert json.loads(path.read_text())["keys"][0]["note"] == "of ours"


def test_a_link_goes_on_pointing_at_the_file(path: Path) -> None:
    link = path.with_name("link.json")
    link.symlink_to(path)
    key_file.write(str(link), [from_jwk(RS256("rs").jwk)])
    assert link.is_symlink()
    assert [key.kid for key in key_file.read(str(path))] == ["rs"]


def test_a_write_that_fails_changes_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "keys.json").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        key_file.write(str(folder / "keys.json"), [])
    assert [path.name for path in folder.iterdir()] == ["keys.json"]


def test_of_two_that_change_the_file_one_waits(path: Path) -> None:
    has_it, may_go = Event(), Event()
    order = []

    def first() -> None:
        with key_file.alone(str(path)):
            has_it.set()
            may_go.wait(10)
            order.append("first")

    def second() -> None:
        has_it.wait(10)
        with key_file.alone(str(path)):
            order.append("second")

    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(first), threads.submit(second)]
        has_it.wait(10)
        time.sleep(0.05)  # for the second to come in too early, if it can
        may_go.set()
        for future in done:
            future.result(10)
    assert order == ["first", "second"]


class Watch:
    """A watched file, and what its service was told to use."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.used: list[list[str]] = []
        self.keys = WatchedKeys(str(path), SCHEDULE, self.use, clock)

    def use(self, keys: Sequence[SigningKey]) -> None:
        self.used.append([key.kid for key in keys])

    def poll(self) -> list[list[str]]:
        """What it was told to use since the last time."""
        self.used.clear()
        asyncio.run(self.keys.poll())
        return list(self.used)


@pytest.fixture
def watch(path: Path, clock: Clock) -> Watch:
    watch = Watch(path, clock)
    watch.keys.load()
    assert watch.used == [["es"]]
    return watch


def test_a_file_that_is_the_same_is_read_once(watch: Watch) -> None:
    assert watch.poll() == []


def test_a_new_file_is_in_force_and_told(
    watch: Watch, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key_file.write(str(path), [from_jwk(ES.jwk), from_jwk(RS256("rs").jwk)])
    assert watch.poll() == [["es", "rs"]]
    assert watch.poll() == []
    signing.write(path, RS256("other").jwk)  # in its place, and not by us
    assert watch.poll() == [["other"]]
    assert [record.details["kids"] for record in caplog.records] == ["es rs", "other"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("fault", [*CONTENTS, "open to others", "gone"])
def test_while_the_file_is_at_fault_the_former_keys_stay(
    watch: Watch, path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = path.read_bytes()
    if fault == "gone":
        path.unlink()
    elif fault == "open to others":
        path.chmod(0o644)
    else:
        path.write_text(CONTENTS[fault][0])
    for _ in range(3):
        assert watch.poll() == []
    assert [record.message for record in caplog.records] == ["signing_keys_refused"]
    assert [key["kid"] for key in watch.keys.published("db")[0]] == ["es.db"]
    path.write_bytes(good)
    path.chmod(0o600)
    watch.poll()
    assert [record.message for record in caplog.records][1:] == ["signing_keys_changed"]


def test_a_key_retires_by_the_clock_alone(watch: Watch, path: Path, clock: Clock) -> None:
    now = int(NOW)
    old = ES256("old", signs_until=now, retires_at=now + 100)
    signing.write(path, old.jwk, ES256("new", signs_from=now).jwk)
    assert watch.poll() == [["old", "new"]]
    clock.advance(99)
    assert watch.poll() == []
    clock.advance(1)
    assert watch.poll() == [["new"]]


def get_keys(api: TestClient) -> tuple[list[dict[str, Any]], str]:
    response = api.get("/.well-known/jwks.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    (cache_control,) = response.headers.get_list("cache-control")
    return response.json()["keys"], cache_control


def test_the_public_keys_are_published_and_nothing_else(
    settings: Settings, path: Path, clock: Clock
) -> None:
    now = int(NOW)
    keys: list[signing.Key] = [
        ES256("gone", signs_until=1, retires_at=now - 1),
        RS256("verifies", signs_until=now - 5, retires_at=now + 5000),
        ES256("signs", signs_from=now - 5),
        Ed25519("to come", signs_from=now + 50),
    ]
    signing.write(path, *[key.jwk | {"k": "secret"} for key in keys])
    with TestClient(create_app(replace(settings, signing_keys_file=str(path)), clock)) as api:
        published, cache_control = get_keys(api)
        assert published == [in_database(key) for key in keys[1:]]
        assert cache_control == "public, max-age=3600"
        clock.advance(2000)
        assert get_keys(api)[1] == "public, max-age=2999"  # a key retires then, and a quarter off
        clock.advance(3000)
        assert get_keys(api) == ([in_database(key) for key in keys[2:]], "public, max-age=3600")
        response = api.head("/.well-known/jwks.json", headers=bearer("stale"))
        assert response.status_code == 200


def in_database(key: signing.Key) -> dict[str, str]:
    return key.public | {"kid": f"{key.public['kid']}.{DATABASE_ID}"}


def test_no_secret_is_published(settings: Settings) -> None:
    with TestClient(create_app(settings)) as api:
        unknown = api.get("/nothing")
        response = api.get("/.well-known/jwks.json")
        assert_refused(response, 404, "not_found")
        assert response.json() == unknown.json()


def test_the_switch_to_keys_logs_nobody_out(
    api: TestClient, registered: Registered, clock: Clock
) -> None:
    claims: dict[str, Any] = {
        "sub": registered.id,
        "key_id": registered.key_id,
        "exp": int(NOW) + WEEK,
    }
    assert api.get("/me", headers=bearer(forge.token(sub=registered.id))).status_code == 200
    old = forge.token("rt+jwt", **claims)
    pair = api.post("/refresh-token", json={"refresh_token": old}).json()
    for name in ("access_token", "refresh_token"):
        assert forge.header_of(pair[name])["kid"] == f"es.{DATABASE_ID}"
    assert forge.claims_of(pair["refresh_token"])["exp"] == claims["exp"]
    assert api.get("/me", headers=bearer(pair["access_token"])).status_code == 200


def test_a_server_does_not_start_without_its_keys(path: Path) -> None:
    path.chmod(0o644)
    done = run(path.parent, "app.py", SIGNING_KEYS_FILE=str(path))
    assert done.returncode == 2
    assert done.stderr == f"{path} is open to others than its owner: chmod 600 {path}\n"


def test_a_worker_does_not_start_without_its_keys(settings: Settings, path: Path) -> None:
    path.unlink()
    app = create_app(replace(settings, signing_keys_file=str(path)))
    with pytest.raises(KeyFileError, match="cannot be read"), TestClient(app):
        pass
