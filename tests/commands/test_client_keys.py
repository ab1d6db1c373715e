"""Client keys as operators need them: several of a client, added, rotated, listed and revoked."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from starlette.testclient import TestClient

from app import create_app
from authapi.commands.revoking import CHUNK_BYTES
from authapi.commands.terminal import MAX_DAYS
from authapi.credentials.client_keys import digest_of, is_well_formed, new_client_key
from authapi.engines.database import Database
from authapi.store import client_keys
from manage import cli
from settings import Settings
from tests.checks import assert_answer, assert_refused, bearer, in_capitals
from tests.conftest import ENGINES, SECRET, Clock, Register, Registered, url_for_settings
from tests.steps import assert_not_refreshed, refresh

DAY = 86_400
Manage = Callable[..., Result]


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, database_file: Path) -> str:
    return url_for_settings(request, request.param, database_file)


@pytest.fixture
def max_age() -> float:
    """The commands here come from what would be another process."""
    return 0


@pytest.fixture
def clock() -> Clock:
    """Begins now, since that is when the commands are typed."""
    clock = Clock()
    clock.now = time.time()
    return clock


@pytest.fixture
def manage(settings: Settings) -> Manage:
    """Types a command."""

    def manage(*arguments: str, status: int = 0, pasted: bytes = b"") -> Result:
        environ = {
            "SECRET_KEY": SECRET,
            "DATABASE_URL": settings.database_url,
            "REVOCATION_MAX_AGE_SECONDS": "0",
        }
        result = CliRunner().invoke(cli, arguments, env=environ, input=pasted)
        assert result.exit_code == status, result.output
        return result

    return manage


def report(manage: Manage, *arguments: str, pasted: bytes = b"") -> Any:
    return json.loads(manage(*arguments, "--json", pasted=pasted).stdout)


def on(settings: Settings, action: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
    async def connected() -> Any:
        async with Database(settings.database_url) as database:
            return await action(database)

    return asyncio.run(connected())


def rows(settings: Settings, table: str = "client_keys") -> list[dict[str, Any]]:
    found = on(settings, lambda database: database.fetch_all(f"SELECT * FROM {table} ORDER BY 1"))
    return [dict(row) for row in found]


def log_in(api: TestClient, key: str) -> Any:
    return assert_answer(api.post("/login", json={"client_key": key}), 200)


def assert_no_login(api: TestClient, key: str) -> None:
    assert_refused(api.post("/login", json={"client_key": key}), 401, "invalid_client", key)


def assert_opens(api: TestClient, pair: dict[str, Any]) -> None:
    assert_answer(api.get("/secure-data", headers=bearer(pair["access_token"])), 200)


def assert_is_dead(api: TestClient, pair: dict[str, Any]) -> None:
    response = api.get("/secure-data", headers=bearer(pair["access_token"]))
    assert_refused(response, 401, "invalid_token")
    assert_not_refreshed(api, pair["refresh_token"])


def events(result: Result) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    return [(line["event"], line["client"], line["key_id"]) for line in lines]


def test_a_client_has_as_many_keys_as_it_needs(
    manage: Manage, api: TestClient, registered: Registered
) -> None:
    result = manage("add-key", "reporting", "--json")
    added = json.loads(result.stdout)
    assert set(added) == {"user_id", "client_key", "key_id", "expires_at"}
    assert (added["user_id"], added["expires_at"]) == (registered.id, None)
    assert events(result) == [("key_added", registered.id, added["key_id"])]
    assert added["client_key"] not in result.stderr
    shown = manage("add-key", registered.id).stdout.splitlines()
    assert shown[0] == "Added a key to 'reporting'. It is shown this once:"
    for key in (registered.key, added["client_key"], shown[1]):
        pair = log_in(api, key)
        assert pair["user_id"] == registered.id
        assert "key_expires_at" not in pair
        assert "key_expires_at" not in refresh(api, pair["refresh_token"])


def test_a_key_ends_when_it_was_told_to(
    manage: Manage, api: TestClient, registered: Registered, clock: Clock
) -> None:
    added = report(manage, "add-key", "reporting", "--expires", "90d")
    assert added["expires_at"] == pytest.approx(clock.now + 90 * DAY, abs=60)
    clock.now = added["expires_at"] - 1
    pair = log_in(api, added["client_key"])
    assert pair["key_expires_at"] == added["expires_at"]
    refreshed, repeated = (refresh(api, pair["refresh_token"]) for _ in range(2))
    assert refreshed["key_expires_at"] == repeated["key_expires_at"] == added["expires_at"]
    clock.now = added["expires_at"]
    assert_no_login(api, added["client_key"])
    assert_not_refreshed(api, refreshed["refresh_token"])
    assert_opens(api, refreshed)
    assert "key_expires_at" not in log_in(api, registered.key)


def test_the_end_of_a_key_is_shown_to_people_too(manage: Manage, registered: Registered) -> None:
    told, key = manage("add-key", "reporting", "--expires", "30m").stdout.splitlines()
    end = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ"
    said = f"Added a key, which ends at {end}, to 'reporting'. It is shown this once:"
    assert re.fullmatch(said, told)
    assert is_well_formed(key)


def test_after_a_rotation_both_keys_open_until_the_overlap_is_over(
    manage: Manage, api: TestClient, registered: Registered, clock: Clock
) -> None:
    log_in(api, registered.key)
    result = manage("rotate-key", "reporting", "--overlap", "2h", "--json")
    rotated = json.loads(result.stdout)
    assert set(rotated) == {"user_id", "client_key", "key_id", "old_keys"}
    assert events(result) == [("key_rotated", registered.id, rotated["key_id"])]
    assert rotated["client_key"] not in result.stderr
    (old,) = rotated["old_keys"]
    assert old["key_id"] == registered.key_id
    until = old["expires_at"]
    assert until == pytest.approx(clock.now + 7200, abs=60)
    clock.now = until - 1
    assert log_in(api, registered.key)["key_expires_at"] == until
    assert "key_expires_at" not in log_in(api, rotated["client_key"])
    clock.now = until
    assert_no_login(api, registered.key)
    log_in(api, rotated["client_key"])


def test_a_rotation_spares_what_ends_earlier_and_tells_of_what_is_open(
    manage: Manage, settings: Settings, register: Register, registered: Registered
) -> None:
    bystander = register("somebody-else")
    early = report(manage, "add-key", "reporting", "--expires", "1h")
    late = report(manage, "add-key", "reporting", "--expires", "9d")
    gone = report(manage, "add-key", "reporting")["key_id"]
    report(manage, "revoke-key", gone, "--yes")
    over = report(manage, "add-key", "reporting", "--expires", "1h")["key_id"]
    past = f"UPDATE client_keys SET expires_at = 5 WHERE id = '{over}'"
    on(settings, lambda database: database.fetch_all(past))

    rotated = report(manage, "rotate-key", "reporting")
    ends = {old["key_id"]: old["expires_at"] for old in rotated["old_keys"]}
    assert set(ends) == {registered.key_id, early["key_id"], late["key_id"]}
    assert ends[early["key_id"]] == early["expires_at"]
    assert ends[registered.key_id] == ends[late["key_id"]]
    assert ends[registered.key_id] == pytest.approx(time.time() + DAY, abs=60)
    after = {row["id"]: row["expires_at"] for row in rows(settings)}
    assert after == ends | {rotated["key_id"]: None, gone: None, over: 5, bystander.key_id: None}


def test_a_rotation_tells_people_when_and_how_often_the_old_key_was_used(
    manage: Manage, settings: Settings, registered: Registered
) -> None:
    on(settings, lambda database: client_keys.add_uses(database, registered.key_id, 7, 86_400))
    old, told, key = manage("rotate-key", "reporting").stdout.splitlines()
    assert re.fullmatch(
        rf"Old key {registered.key_id} ends at 20[-\d]+ [:\d]+Z; it was used 7 times,"
        r" last: 1970-01-02 00:00:00Z\.",
        old,
    )
    assert told == "The new key of 'reporting' is shown this once:"
    assert is_well_formed(key)
    (again,) = [
        old
        for old in report(manage, "rotate-key", "reporting")["old_keys"]
        if old["key_id"] == registered.key_id
    ]
    assert (again["uses"], again["last_used_at"]) == (7, 86_400)


def test_of_two_rotations_at_once_the_second_ends_the_key_of_the_first(
    settings: Settings, registered: Registered
) -> None:
    keys = [new_client_key() for _ in range(5)]

    async def action(database: Database) -> list[list[str]]:
        told = await asyncio.gather(
            *(client_keys.rotate_keys(database, registered.id, key, 100, 200) for key in keys)
        )
        return [[row["id"] for row in old] for old in told]

    told = on(settings, action)
    assert sorted(len(old) for old in told) == [1, 2, 3, 4, 5]
    ends = [row["expires_at"] for row in rows(settings)]
    assert (ends.count(200), ends.count(None)) == (5, 1)


def test_the_keys_of_a_client_are_listed(
    manage: Manage, settings: Settings, register: Register, registered: Registered
) -> None:
    register("somebody-else")
    ending = report(manage, "add-key", "reporting", "--expires", "1d")
    revoked = report(manage, "add-key", "reporting")["key_id"]
    report(manage, "revoke-key", revoked, "--yes")
    over = f"UPDATE client_keys SET expires_at = 60 WHERE id = '{registered.key_id}'"
    on(settings, lambda database: database.fetch_all(over))

    listed = report(manage, "list-keys", registered.id)
    ids = {row["key_id"] for row in listed}
    assert ids == {registered.key_id, ending["key_id"], revoked}
    names = {"key_id", "kind", "created_at", "expires_at", "revoked_at", "last_used_at", "uses"}
    assert all(set(row) == names | {"made_by"} for row in listed)
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
    header, *shown = manage("list-keys", "reporting").stdout.splitlines()
    assert re.split("  +", header) == [
        "KEY ID",
        "KIND",
        "CREATED",
        "STATE",
        "ENDS",
        "USES",
        "LAST USED",
    ]
    assert len(shown) == 3
    assert max(map(len, shown)) <= 100
    for line in shown:
        match = re.fullmatch(rf"(\w{{16}})  secret  {moment}  (\w+ +{moment})  0     never", line)
        assert match is not None, line
        end = {
            registered.key_id: "ended    1970-01-01 00:01:00Z",
            ending["key_id"]: rf"open     {moment}",
            revoked: rf"revoked  {moment}",
        }[match[1]]
        assert re.fullmatch(end, match[2])


def test_clients_are_listed_with_their_open_keys_and_their_last_use(
    manage: Manage, settings: Settings, register: Register, registered: Registered
) -> None:
    register("idle")
    report(manage, "add-key", "reporting")
    ended = report(manage, "add-key", "reporting", "--expires", "1d")["key_id"]
    over = f"UPDATE client_keys SET expires_at = 60 WHERE id = '{ended}'"
    on(settings, lambda database: database.fetch_all(over))
    for key_id, used_at in ((registered.key_id, 86_400), (ended, 172_800)):
        on(settings, partial(client_keys.add_uses, key_id=key_id, uses=1, used_at=used_at))
    report(manage, "revoke-key", registered.key_id, "--yes")
    listed = {row["name"]: row for row in report(manage, "list-clients")}
    assert (listed["reporting"]["open_keys"], listed["idle"]["open_keys"]) == (1, 1)
    assert listed["reporting"]["last_used_at"] == 172_800
    assert listed["idle"]["last_used_at"] is None
    shown = manage("list-clients").stdout.splitlines()
    assert max(map(len, shown)) <= 100
    (line,) = [line for line in shown if "reporting" in line]
    assert line.endswith("  1970-01-03 00:00:00Z")


def test_a_client_without_keys_is_told_how_to_get_one(
    manage: Manage, settings: Settings, registered: Registered
) -> None:
    assert "Z  open   never  0     never\n" in manage("list-keys", "reporting").stdout
    on(settings, lambda database: database.fetch_all("DELETE FROM client_keys"))
    assert manage("list-keys", "reporting").stdout == "It has no key; see add-key.\n"


def test_whatever_a_revoked_key_minted_is_dead(
    manage: Manage, api: TestClient, settings: Settings, registered: Registered
) -> None:
    other = report(manage, "add-key", "reporting")["client_key"]
    dying, living = log_in(api, registered.key), log_in(api, other)
    result = manage("revoke-key", registered.key_id, "--yes")
    owner = f"'reporting' ({registered.id}), which has 1 open key left"
    said = f"Revoked {registered.key_id} of {owner}; the sessions begun with it are ended.\n"
    assert result.stdout == said
    assert events(result) == [("key_revoked", registered.id, registered.key_id)]
    assert_is_dead(api, dying)
    assert_no_login(api, registered.key)
    assert_opens(api, living)
    refresh(api, living["refresh_token"])
    (row,) = [row for row in rows(settings, "revoked_jtis") if row["reason"] == "revoked"]
    assert row["jti"] == registered.key_id
    assert row["commit_order"] is not None
    # Whatever a server issued, which may be a minute ahead of its last login.
    assert 0 <= row["expires_at"] - (int(row["revoked_at"]) + 365 * DAY) <= 90
    (key,) = [row for row in rows(settings) if row["id"] == registered.key_id]
    assert key["revoked_at"] == int(row["revoked_at"])


def test_a_key_that_is_over_is_revoked_for_the_tokens_that_live_on(
    manage: Manage, api: TestClient, registered: Registered, clock: Clock
) -> None:
    added = report(manage, "add-key", "reporting", "--expires", "1d")
    clock.now = added["expires_at"] - 1
    pair = log_in(api, added["client_key"])
    clock.advance(2)
    assert_opens(api, pair)
    report(manage, "revoke-key", added["key_id"], "--yes")
    assert_is_dead(api, pair)


@pytest.mark.parametrize("begin", ["rotate-key", "revoke-key"])
def test_what_is_said_is_in_force_on_a_worker_that_polls_seldom(
    settings: Settings, registered: Registered, begin: str
) -> None:
    """Its copy is fresh for a second after the command's commit."""
    seldom = replace(settings, revocation_poll_seconds=0.9, revocation_max_age_seconds=1)
    environ = {
        "SECRET_KEY": SECRET,
        "DATABASE_URL": settings.database_url,
        "REVOCATION_MAX_AGE_SECONDS": "1",
    }
    given = ["reporting"] if begin == "rotate-key" else [registered.key_id, "--yes"]
    with TestClient(create_app(seldom)) as api:
        pair = log_in(api, registered.key)  # from now on the worker knows the key by heart
        result = CliRunner().invoke(cli, [begin, *given], env=environ)
        assert result.exit_code == 0, result.output
        if begin == "rotate-key":
            assert "key_expires_at" in log_in(api, registered.key)
        else:
            assert_is_dead(api, pair)
            assert_no_login(api, registered.key)


def test_to_revoke_a_key_again_changes_nothing(
    manage: Manage, settings: Settings, registered: Registered
) -> None:
    once = report(manage, "revoke-key", registered.key_id, "--yes")
    assert (
        once.items()
        >= {"revoked": [registered.key_id], "already_revoked": [], "unknown": []}.items()
    )
    (before,) = rows(settings)
    result = manage("revoke-key", registered.key_id)
    assert result.stdout == f"{registered.key_id} was revoked already.\n"
    assert result.stderr == ""
    assert rows(settings) == [before]


def everything(settings: Settings) -> list[Any]:
    return [rows(settings, name) for name in ("clients", "client_keys", "revoked_jtis")]


WRONG_TIMES = [
    *("", "0", "90", "d", "0s", "00d", "-1d", "+1d", "1.5h", "1d ", " 1d", "1 d", "1D", "1w"),
    *("1d\n", "1dd", "1d12h", "\u0661d", f"{MAX_DAYS + 1}d", "9" * 9 + "d", "9" * 400 + "s"),
    *("2020-01-01", "tomorrow"),
]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("text", WRONG_TIMES)
def test_a_time_that_is_none_changes_nothing(
    manage: Manage, settings: Settings, registered: Registered, text: str
) -> None:
    before = everything(settings)
    for command, option in (("add-key", "--expires"), ("rotate-key", "--overlap")):
        result = manage(command, "reporting", f"{option}={text}", status=2)
        assert result.stderr.splitlines()[-1] == (
            f"Error: Invalid value for '{option}':"
            f" A time from 1s to {MAX_DAYS}d is a number and s, m, h or d, like 90d."
        )
    assert everything(settings) == before


@pytest.mark.parametrize("text", ["1s", "45s", "30m", "24h", f"{MAX_DAYS}d"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_time_is_a_number_and_a_unit(manage: Manage, registered: Registered, text: str) -> None:
    seconds = int(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": DAY}[text[-1]]
    added = report(manage, "add-key", "reporting", "--expires", text)
    assert added["expires_at"] == pytest.approx(time.time() + seconds, abs=60)


def test_what_is_unknown_is_told_in_a_line_and_nothing_is_changed(
    manage: Manage, settings: Settings, registered: Registered
) -> None:
    before = everything(settings)
    for command in ("add-key", "rotate-key", "list-keys"):
        result = manage(command, "nobody", status=2)
        assert result.stderr == "Error: There is no client 'nobody'; see list-clients.\n"
    result = manage("revoke-key", "0" * 16, "--yes", status=2)
    assert result.stderr == f"Error: There is no key {'0' * 16}; see list-keys.\n"
    assert everything(settings) == before


def test_a_whole_key_in_place_of_its_id_is_not_repeated(
    manage: Manage, settings: Settings, registered: Registered
) -> None:
    before = everything(settings)
    for given in (
        registered.key,
        in_capitals(registered.key_id),
        f"{registered.key_id}\n",
        "",
        "x",
    ):
        result = manage("revoke-key", given, "--yes", status=2)
        assert result.output == (
            "Error: The id of a key has 16 hexadecimal digits; a whole key is for --stdin.\n"
        )
    assert everything(settings) == before


@pytest.mark.parametrize("both", [False, True])
def test_a_key_is_named_or_pasted(manage: Manage, registered: Registered, both: bool) -> None:
    given = [registered.key_id, "--stdin"] if both else []
    result = manage("revoke-key", *given, "--yes", status=2, pasted=registered.key.encode())
    assert result.stderr == "Error: Give the id of a key, or --stdin; see list-keys.\n"


def test_a_revocation_is_asked_about_unless_it_was_said(
    manage: Manage, settings: Settings, registered: Registered
) -> None:
    before = everything(settings)
    for given in ([registered.key_id], ["--stdin"]):
        result = manage("revoke-key", *given, status=2, pasted=registered.key.encode())
        assert result.output == (
            f"Error: Revoke {registered.key_id}, and end every session begun with it?"
            " Say --yes, since nobody can be asked here.\n"
        )
    assert everything(settings) == before


def test_every_key_in_what_is_pasted_is_revoked(
    manage: Manage, api: TestClient, settings: Settings, registered: Registered, register: Register
) -> None:
    spared, gone = register("spared"), register("gone")
    report(manage, "revoke-key", gone.key_id, "--yes")
    unknown = new_client_key()
    second = report(manage, "add-key", "reporting")
    pairs = [log_in(api, registered.key), log_in(api, second["client_key"])]
    living = log_in(api, spared.key)
    leaked = [registered.key, second["client_key"], gone.key, unknown.text]
    result = manage("revoke-key", "--stdin", "--yes", pasted="".join(leaked).encode())
    owner = f"'reporting' ({registered.id}), which has 0 open keys left"
    assert sorted(result.stdout.splitlines()) == sorted(
        [
            f"Revoked {registered.key_id} of {owner}; the sessions begun with it are ended.",
            f"Revoked {second['key_id']} of {owner}; the sessions begun with it are ended.",
            f"{gone.key_id} was revoked already.",
            f"{unknown.id} is no key of ours.",
        ]
    )
    assert sorted(events(result)) == sorted(
        ("key_revoked", registered.id, key_id) for key_id in (registered.key_id, second["key_id"])
    )
    for key in leaked:
        assert key.split("_")[2][:43] not in result.output
        assert digest_of(key) not in result.output
    for pair in pairs:
        assert_is_dead(api, pair)
    assert_opens(api, living)


def test_a_made_up_key_with_the_id_of_another_ends_nothing(
    manage: Manage, settings: Settings, registered: Registered
) -> None:
    """Ids are public; whoever writes into a log must not choose what its reader revokes."""
    forged = forge(registered.key_id)
    before = everything(settings)
    result = manage("revoke-key", "--stdin", "--yes", pasted=forged.encode(), status=2)
    assert result.output == (
        f"Error: No key here is known; is DATABASE_URL the right one? {registered.key_id}\n"
    )
    assert everything(settings) == before
    pasted = f"{forged}{registered.key}".encode()
    told = report(manage, "revoke-key", "--stdin", "--yes", pasted=pasted)
    assert told["revoked"] == told["unknown"] == [registered.key_id]


def forge(key_id: str) -> str:
    import zlib

    body = f"ck_{key_id}_{'a' * 43}"
    return f"{body}{zlib.crc32(body.encode()):08x}"


def test_what_holds_no_key_is_refused(
    manage: Manage, settings: Settings, registered: Registered
) -> None:
    before = everything(settings)
    mistyped = registered.key[:-1] + ("0" if registered.key[-1] != "0" else "1")
    for text in ("", mistyped, registered.key[:-1], registered.key[1:], registered.key.upper()):
        result = manage("revoke-key", "--stdin", "--yes", status=2, pasted=text.encode())
        assert result.output == (
            "Error: No key is in what was read; a key is 71 characters, unbroken, from ck_ on.\n"
        )
    assert everything(settings) == before


NOISE = bytes(range(256)) * 40
PASTED: dict[str, Callable[[bytes], bytes]] = {
    "a line of a log": lambda key: b'{"level":"info","body":"client_key=' + key + b'&x=1"}\n',
    "a diff": lambda key: b"@@ -1 +1 @@\n-KEY=\n+KEY=" + key + b"\n",
    "a page": lambda key: b"<p>It is <code>" + key + b"</code></p>",
    "a name that goes on": lambda key: b"prefix" + key + b"suffix" + key[:30],
    "twice": lambda key: key + b" " + key,
    "beside itself": lambda key: key * 3,
    "after the torso of another": lambda key: key[:-2] + key,
    "after a torso that lacks just the next letter": lambda key: key[:70] + key,
    "after torsos": lambda key: b"ck_ck_" + key[:20] + b"a" * 49 + key,
    "two bytes for each letter": lambda key: key.decode().encode("utf-16"),
    "binary noise": lambda key: NOISE + key + NOISE,
    "megabytes": lambda key: NOISE * 150 + key + NOISE * 150,
    **{
        f"over the border of two reads, by {n}": lambda key, n=n: (  # type: ignore[misc]
            b"x" * (CHUNK_BYTES - n) + key + b"x" * CHUNK_BYTES
        )
        for n in (1, 35, 70, 71)
    },
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", PASTED)
def test_a_key_is_found_in_whatever_is_pasted(
    manage: Manage, registered: Registered, kind: str
) -> None:
    pasted = PASTED[kind](registered.key.encode())
    told = report(manage, "revoke-key", "--stdin", "--yes", pasted=pasted)
    assert (
        told.items()
        >= {"revoked": [registered.key_id], "already_revoked": [], "unknown": []}.items()
    )


def test_a_command_that_fails_in_the_middle_changes_nothing(
    settings: Settings, register: Register
) -> None:
    first, second = register("first"), register("second")
    before = everything(settings)

    def ids() -> Any:
        yield first.key_id
        yield second.key_id
        raise RuntimeError("in the middle")

    async def action(database: Database) -> None:
        with pytest.raises(RuntimeError):
            await client_keys.revoke_keys(database, ids(), 1)

    on(settings, action)
    assert everything(settings) == before
