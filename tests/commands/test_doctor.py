"""The doctor: each check has a good end and a bad one, and the bad one says what to do."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from authapi.commands import doctor
from authapi.commands.database import check_permissions
from authapi.commands.doctor import Check
from authapi.commands.doctor_database import DAY_SECONDS, OLD_DAYS, check_database
from authapi.credentials.claims import MAX_SESSION_SECONDS
from authapi.credentials.client_keys import new_client_key
from authapi.engines.database import Database
from authapi.revocation import purging
from authapi.server.development import DEMO_NAME
from authapi.store import clients, health, revocations
from manage import cli
from settings import Settings
from tests.conftest import DATABASE_ID, ENGINES, NOW, SECRET, Clock, url_for_settings
from tests.copies import end
from tests.serving import serve

CHECKS = [
    "settings",
    "spelling",
    "secret",
    "fallbacks",
    "address",
    "signing_keys",
    "rights",
    "disk",
    "integrity",
    "database",
    "schema",
    "identity",
    "purged",
    "clock",
    "transactions",
    "numbers",
    "writing",
    "clients",
    "demo",
    "old_keys",
    "keyless_clients",
    "disabled_clients",
    "expired_rows",
    "ended_sessions",
    "permissions",
]
OF_FILES = {"rights", "disk", "integrity"}


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, database_file: Path) -> str:
    return url_for_settings(request, request.param, database_file)


@pytest.fixture
def run_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Types the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(url: str, *arguments: str, **environ: str) -> Result:
        environ = {"SECRET_KEY": SECRET, "DATABASE_URL": url} | environ
        return CliRunner().invoke(cli, ["doctor", *arguments], env=environ)

    return run


def statuses(result: Result) -> dict[str, str]:
    return {check["check"]: check["status"] for check in json.loads(result.stdout)}


def look(settings: Settings, now: float = NOW, busy_seconds: float = 5) -> dict[str, Check]:
    is_sqlite = settings.database_url.startswith("sqlite")
    options: dict[str, Any] = {"busy_seconds": busy_seconds} if is_sqlite else {}
    database = Database(settings.database_url, **options)
    return {one.check: one for one in asyncio.run(check_database(database, settings, lambda: now))}


def act(settings: Settings, *statements: str) -> None:
    async def run() -> None:
        async with Database(settings.database_url) as database:
            for statement in statements:
                await database.fetch_all(statement)

    asyncio.run(run())


def add_client(settings: Settings, name: str, made_at: float = NOW) -> None:
    async def run() -> None:
        async with Database(settings.database_url) as database:
            await clients.create_client(database, name, name, new_client_key(), int(made_at))

    asyncio.run(run())


def test_where_all_is_well_each_check_is_ok(
    settings: Settings, run_doctor: Callable[..., Result]
) -> None:
    add_client(settings, "billing", time.time())
    result = run_doctor(settings.database_url, "--json")
    assert result.exit_code == 0
    is_file = settings.database_url.startswith("sqlite")
    expected = [check for check in CHECKS if is_file or check not in OF_FILES]
    assert statuses(result) == dict.fromkeys(expected, "ok")
    for check in json.loads(result.stdout):
        assert set(check) == {"check", "status", "detail", "remedy"}
        assert check["detail"]
        assert check["remedy"] == ""
    lines = run_doctor(settings.database_url).stdout.splitlines()
    assert [line.split(maxsplit=2)[:2] for line in lines] == [["ok", f"{one}:"] for one in expected]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_works_while_a_server_has_the_file(
    settings: Settings, tmp_path: Path, run_doctor: Callable[..., Result]
) -> None:
    with serve(tmp_path, SECRET_KEY=SECRET, DATABASE_URL=settings.database_url):
        result = run_doctor(settings.database_url, "--json")
    assert set(statuses(result).values()) == {"ok"}


@pytest.mark.parametrize(
    "url",
    ["sqlite:////dev/null/auth.db", "postgresql://auth:password-of-it@127.0.0.1:1/auth"],
)
def test_where_the_database_is_out_of_reach_the_rest_is_checked(
    run_doctor: Callable[..., Result], url: str
) -> None:
    result = run_doctor(url, "--json")
    assert result.exit_code == 1
    seen = statuses(result)
    assert {check for check, status in seen.items() if status == "fault"} == {"database"}
    assert {check for check, status in seen.items() if status == "ok"} == {
        "settings",
        "spelling",
        "secret",
        "fallbacks",
        "address",
        "signing_keys",
        "permissions",
    }
    assert all(check["remedy"] for check in json.loads(result.stdout) if check["status"] != "ok")
    assert "password-of-it" not in result.output


def test_it_makes_no_database(run_doctor: Callable[..., Result], tmp_path: Path) -> None:
    result = run_doctor(f"sqlite:///{tmp_path}/none.db", "--json")
    assert statuses(result)["database"] == "fault"
    assert list(tmp_path.iterdir()) == []


def test_bad_settings_are_a_fault_and_their_values_are_not_told(
    run_doctor: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("")
    (tmp_path / ".env").chmod(0o644)
    result = run_doctor("", "--json", SECRET_KEY="too-short-a-secret")
    assert result.exit_code == 1
    assert statuses(result) == {"settings": "fault", "permissions": "warning"}
    assert "SECRET_KEY" in result.stdout
    assert "too-short-a-secret" not in result.output
    line = run_doctor("", SECRET_KEY="short").stdout.splitlines()[0]
    assert line.startswith("fault    settings: ")
    assert line.endswith(" Mend them first.")


def test_in_development_a_secret_is_advised(
    run_doctor: Callable[..., Result], tmp_path: Path
) -> None:
    environ = {"SECRET_KEY": "", "DATABASE_URL": ""}
    CliRunner().invoke(cli, ["migrate"], env=environ)
    result = run_doctor("", "--json", **environ)
    assert result.exit_code == 0
    assert [one for one, status in statuses(result).items() if status != "ok"] == ["secret"]


def test_a_secret_file_with_which_no_server_starts_is_a_fault(
    run_doctor: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / ".secret_key").touch(0o600)
    result = run_doctor("", "--json", SECRET_KEY="", DATABASE_URL="")
    assert statuses(result)["secret"] == "fault"
    assert ".secret_key holds no secret" in result.stdout


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_signing_keys_with_which_no_server_starts_are_a_fault(
    settings: Settings, tmp_path: Path, run_doctor: Callable[..., Result]
) -> None:
    file = tmp_path / "keys.json"
    environ = {"SIGNING_KEYS_FILE": str(file)}
    missing = run_doctor(settings.database_url, "--json", **environ)
    assert missing.exit_code == 1
    assert statuses(missing)["signing_keys"] == "fault"
    assert "new-signing-key" in missing.stdout
    CliRunner().invoke(cli, ["new-signing-key"], env={"SECRET_KEY": SECRET} | environ)
    assert statuses(run_doctor(settings.database_url, "--json", **environ))["signing_keys"] == "ok"
    file.chmod(0o640)
    opened = run_doctor(settings.database_url, "--json", **environ)
    assert statuses(opened)["signing_keys"] == "fault"
    assert f"chmod 600 {file}" in opened.stdout


GOOD_SECRET = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


@pytest.mark.parametrize(
    ("secrets", "status"),
    [
        ([GOOD_SECRET], "ok"),
        (["s" * 64], "warning"),
        (["password" * 4], "warning"),
        ([GOOD_SECRET, "1" * 40], "warning"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_secret_is_not_to_be_guessed(settings: Settings, secrets: list[str], status: str) -> None:
    first, *others = secrets
    check = doctor.check_secret(
        replace(settings, secret_key=first, secret_key_fallbacks=tuple(others))
    )
    assert check.status == status
    assert not any(secret in check.detail + check.remedy for secret in secrets)


@pytest.mark.parametrize(("count", "status"), [(0, "ok"), (1, "ok"), (2, "warning")])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_previous_secrets_are_few(settings: Settings, count: int, status: str) -> None:
    fallbacks = (GOOD_SECRET,) * count
    assert (
        doctor.check_fallbacks(replace(settings, secret_key_fallbacks=fallbacks)).status == status
    )


@pytest.mark.parametrize(
    ("host", "proxies", "status"),
    [
        ("127.0.0.1", "", "ok"),
        ("::1", "", "ok"),
        ("localhost", "", "ok"),
        ("0.0.0.0", "", "warning"),
        ("auth.example", "", "warning"),
        ("0.0.0.0", "10.0.0.1", "ok"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_open_address_wants_a_proxy(
    settings: Settings, host: str, proxies: str, status: str
) -> None:
    check = doctor.check_address(replace(settings, host=host, trusted_proxies=proxies))
    assert check.status == status


@pytest.mark.parametrize(
    ("mode", "status"), [(0o600, "ok"), (0o640, "ok"), (0o644, "warning"), (0o602, "fault")]
)
def test_a_file_is_not_open_to_everybody(tmp_path: Path, mode: int, status: str) -> None:
    file = tmp_path / ".secret_key"
    file.touch()
    file.chmod(mode)
    check = check_permissions([file, tmp_path / "none"])
    assert check.status == status
    assert check.remedy == ("" if status == "ok" else f"chmod o= {file}")


def test_a_new_database_is_its_owners(database_file: Path) -> None:
    url = f"sqlite:///{database_file}"
    CliRunner().invoke(cli, ["migrate"], env={"SECRET_KEY": SECRET, "DATABASE_URL": url})
    assert database_file.stat().st_mode & 0o777 == 0o600


def test_a_disk_has_room(database_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_disk(str(database_file), spare_bytes=1).status == "ok"
    assert doctor.check_disk(str(database_file), spare_bytes=2**80).status == "warning"
    monkeypatch.chdir(database_file.parent)
    assert doctor.check_disk("auth.db", spare_bytes=1).status == "ok"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_damaged_file_is_found_if_it_is_not_too_large(
    settings: Settings, database_file: Path
) -> None:
    values = ", ".join(f"('{number:030}', 'x', 1, 1, 1, 1, NULL)" for number in range(3000))
    act(settings, f"INSERT INTO revoked_jtis VALUES {values}")
    content = bytearray(database_file.read_bytes())
    content[-40 * 4096 : -20 * 4096] = bytes(20 * 4096)
    database_file.write_bytes(content)
    found = {one.check: one for one in doctor.check_file(str(database_file))}["integrity"]
    assert (found.status, bool(found.remedy)) == ("fault", True)
    assert doctor.check_integrity(str(database_file), most_bytes=4096).status == "ok"
    database_file.write_text("This is no database. " * 100)
    assert doctor.check_integrity(str(database_file)).status == "fault"


@pytest.mark.parametrize(
    ("apart", "status"), [(0, "ok"), (9, "ok"), (30, "warning"), (-30, "warning"), (90, "fault")]
)
def test_the_clocks_agree(settings: Settings, apart: float, status: str) -> None:
    check = look(settings, time.time() + apart)["clock"]
    assert check.status == (status if settings.database_url.startswith("postgresql") else "ok")


def test_another_schema_is_a_fault_and_asks_nothing_more(settings: Settings) -> None:
    act(settings, "UPDATE alembic_version SET version_num = 'other'")
    seen = look(settings)
    assert {one.check: one.status for one in seen.values()} == {
        "database": "ok",
        "schema": "fault",
    }
    assert "migrate" in seen["schema"].remedy


def test_a_database_that_fails_midway_is_a_fault(settings: Settings) -> None:
    act(settings, "DROP TABLE revoked_jtis")
    seen = look(settings)
    assert seen["database"].status == "fault"
    assert seen["schema"].status == "ok"
    assert "expired_rows" not in seen


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_that_stays_locked_is_a_fault(settings: Settings, database_file: Path) -> None:
    with closing(sqlite3.connect(database_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        seen = look(settings, busy_seconds=0.01)
    assert seen["database"].status == "ok"  # what only reads goes on
    assert seen["writing"].status == "fault"
    assert "locked" in seen["writing"].detail


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_standby_cannot_be_written(settings: Settings) -> None:
    name = settings.database_url.split("/")[3].split("?")[0]
    act(settings, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    seen = look(settings)
    assert seen["writing"].status == "fault"
    assert seen["writing"].remedy
    assert seen["clients"].status == "ok"


def test_the_demo_client_is_for_development(settings: Settings) -> None:
    add_client(settings, DEMO_NAME)
    seen = look(settings)["demo"]
    assert seen.status == "warning"
    assert "disable-client demo" in seen.remedy
    assert look(replace(settings, secret_key=""))["demo"].status == "ok"
    act(settings, "UPDATE clients SET disabled_at = 1")
    assert look(settings)["demo"].status == "ok"


def test_clients_are_counted_and_old_keys_named(settings: Settings) -> None:
    old = NOW - OLD_DAYS * DAY_SECONDS
    for number in range(7):
        add_client(settings, f"old-{number}", old - 1)
    add_client(settings, "new", old + 1)
    seen = look(settings)
    assert seen["clients"].detail.startswith("8 ")
    assert seen["old_keys"].status == "warning"
    assert seen["old_keys"].detail == (
        "7 clients with an old key: old-0, old-1, old-2, old-3, old-4, and more."
    )
    for mended in ("revoked_at = 1", f"expires_at = {int(NOW)}", None):
        if mended is None:
            act(settings, "UPDATE client_keys SET revoked_at = NULL, expires_at = NULL")
            act(settings, "UPDATE clients SET disabled_at = 1 WHERE name <> 'new'")
        else:
            act(settings, f"UPDATE client_keys SET {mended} WHERE client_id <> 'new'")
        assert look(settings)["old_keys"].status == "ok"


def test_a_client_without_a_key_is_named(settings: Settings) -> None:
    for name in ("billing", "closed", "off"):
        add_client(settings, name)
    assert look(settings)["keyless_clients"].status == "ok"
    act(
        settings,
        f"UPDATE client_keys SET expires_at = {int(NOW)} WHERE client_id = 'closed'",
        "UPDATE client_keys SET revoked_at = 1 WHERE client_id = 'off'",
        "UPDATE clients SET disabled_at = 1 WHERE id = 'off'",
    )
    seen = look(settings)
    assert seen["keyless_clients"].status == "warning"
    assert seen["keyless_clients"].detail == "1 clients without a key: closed."
    assert seen["disabled_clients"].status == "ok"
    act(settings, "UPDATE client_keys SET revoked_at = NULL")
    seen = look(settings)
    assert seen["disabled_clients"].status == "warning"
    assert seen["disabled_clients"].detail == "1 clients disabled with a key: off."


def test_rows_that_nobody_purges_are_counted(settings: Settings) -> None:
    day_ago = int(NOW) - DAY_SECONDS
    for jti, expires_at in (("a", day_ago - 1), ("b", day_ago + 1)):
        act(
            settings,
            f"INSERT INTO revoked_jtis VALUES ('{jti}', 'x', 1, {expires_at}, NULL, NULL, NULL)",
        )
    seen = look(settings)["expired_rows"]
    assert seen.status == "warning"
    assert seen.detail.startswith("1 ")
    act(settings, "DELETE FROM revoked_jtis WHERE jti = 'a'")
    assert look(settings)["expired_rows"].status == "ok"


def test_ended_sessions_are_counted_by_day(settings: Settings) -> None:
    clock = Clock()

    async def act_on() -> None:
        async with Database(settings.database_url) as database:
            for number, days in enumerate((0, 0, 1, 6, 7)):
                ended_at = clock.now - days * DAY_SECONDS
                await end(database, f"s-{number}", 2**40, ended_at)
            await revocations.mark_registry_changed(database, clock.now)

    asyncio.run(act_on())
    act(
        settings,
        f"INSERT INTO revoked_jtis VALUES ('spent', 'spent', {NOW}, {2**40}, NULL, NULL, NULL)",
    )
    assert look(settings)["ended_sessions"].detail == (
        "Ended on 2027-01-15: 2, 2027-01-14: 1, 2027-01-13: 0, 2027-01-12: 0, 2027-01-11: 0,"
        " 2027-01-10: 0, 2027-01-09: 1."
    )


def rows(settings: Settings) -> list[Any]:
    async def read() -> list[Any]:
        async with Database(settings.database_url) as database:
            found = []
            for table in ("clients", "client_keys", "revoked_jtis"):
                found += [dict(row) for row in await database.fetch_all(f"SELECT * FROM {table}")]
            return found

    return asyncio.run(read())


def test_the_doctor_changes_nothing(settings: Settings, run_doctor: Callable[..., Result]) -> None:
    add_client(settings, "billing")
    act(settings, "INSERT INTO revoked_jtis VALUES ('a', 'spent', 1, 1, NULL, NULL, NULL)")
    before = rows(settings)
    run_doctor(settings.database_url)
    assert rows(settings) == before


def test_a_database_without_an_identity_is_a_fault_that_a_command_mends(
    settings: Settings, run_doctor: Callable[..., Result]
) -> None:
    assert look(settings, NOW + 3 * DAY_SECONDS)["identity"].detail == (
        f"It has been {DATABASE_ID} for 3 days."
    )
    act(settings, "DELETE FROM identity")
    seen = look(settings)["identity"]
    assert seen.status == "fault"
    assert "end-all-sessions" in seen.remedy
    environ = {"SECRET_KEY": SECRET, "DATABASE_URL": settings.database_url}
    result = CliRunner().invoke(cli, ["end-all-sessions", "--yes"], env=environ)
    assert result.exit_code == 0, result.output
    assert look(settings)["identity"].status == "ok"


def test_a_clock_behind_what_was_ended_last_is_a_fault(settings: Settings) -> None:
    async def act_on() -> None:
        async with Database(settings.database_url) as database:
            await end(database, "later", now=NOW + 3600)

    asyncio.run(act_on())
    seen = look(settings)["clock"]
    assert (seen.status, seen.detail) == (
        "fault",
        "What was ended last is 3600 s in the future.",
    )


def test_numbers_of_the_future_are_told(settings: Settings) -> None:
    act(settings, f"INSERT INTO revoked_jtis VALUES ('a', 'x', 1, {2**40}, {2**50}, {2**40}, NULL)")
    seen = look(settings)["numbers"]
    if settings.database_url.startswith("sqlite"):
        assert seen.status == "ok"
    else:
        assert (seen.status, seen.detail[:6]) == ("warning", "1 rows")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_open_transaction_that_writes_is_told(settings: Settings) -> None:
    """Wherever on the server; one that only reads is none."""

    async def act_on() -> None:
        async with (
            Database(settings.database_url) as database,
            Database(settings.database_url) as other,
            other.transaction(),
        ):
            await other.fetch_all("SELECT 1")
            assert await asyncio.create_task(health.oldest_writer(database)) == 0
            await other.fetch_all("SELECT pg_current_xact_id()")
            assert await asyncio.create_task(health.oldest_writer(database)) > 0

    asyncio.run(act_on())
    assert look(settings)["transactions"].status == "ok"


def test_a_purge_that_went_by_a_clock_that_was_ahead_is_found(settings: Settings) -> None:
    async def act() -> None:
        async with Database(settings.database_url) as database:
            for ended_id in ("session", "other"):  # the newest row stays
                ending = revocations.ending_by_operator(ended_id, "test", NOW)
                await revocations.end_session(database, ending)
            await purging.purge(database, NOW + 2 * MAX_SESSION_SECONDS, 10)

    asyncio.run(act())
    found = look(settings)["purged"]
    assert found.status == "warning"
    assert "ahead" in found.detail
    assert "end-all-sessions" in found.remedy
