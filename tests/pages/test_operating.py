"""The commands of the pages for operators do what the pages say."""

import json
import re
import signal
import subprocess
from pathlib import Path

import click
import pytest
import yaml
from uvicorn.config import STARTUP_FAILURE

from manage import cli
from tables import SCHEMA_REVISION
from tests import forge
from tests.pages.reading import blocks, section, table
from tests.pages.running import RUN_SECONDS, SECRET, SIGNING_KEYS, call, key_in, log_in, run
from tests.postgres import Postgres
from tests.serving import ROOT, free_port, serve


def test_the_commands_of_the_operator_run(clone: Path) -> None:
    (script,) = blocks("Commands", "sh")
    lines = run(clone, script).splitlines()
    assert lines[0] == f"The schema is at revision {SCHEMA_REVISION}."
    assert lines[1].startswith("Registered 'billing' as ")
    assert lines[-3:] == [
        "Disabled 'billing'; its sessions are ended.",
        "Enabled 'billing'.",
        "Deleted 0 rows.",
    ]


def test_a_client_is_deleted_as_shown(clone: Path) -> None:
    (typed,) = blocks("Delete a client", "sh")
    with serve(clone, code=clone) as served:
        pair = log_in(served, served.demo_key)
        run(clone, typed.replace("billing", "demo"))
        assert call(served, "/me", pair["access_token"]).status_code == 401
        refresh = call(served, "/refresh-token", refresh_token=pair["refresh_token"])
        assert refresh.status_code == 401
        assert call(served, "/login", client_key=served.demo_key).status_code == 401
    listed = run(clone, ".venv/bin/python manage.py list-clients")
    assert listed == "There is no client; see create-client.\n"


def test_the_commands_of_a_rotation_run(clone: Path) -> None:
    (script,) = blocks("Rotate a client key", "sh")
    manage = ".venv/bin/python manage.py"
    run(clone, f"{manage} migrate; {manage} create-client billing")
    old, _, new, _, *listed = run(clone, script).splitlines()
    ids = [old.split()[2], new.split("_")[1]]
    assert sorted(line.split()[0] for line in listed) == sorted(ids)


def test_the_commands_of_a_rotation_of_a_public_key_run(clone: Path) -> None:
    (script,) = blocks("Rotate a public key", "sh")
    manage = ".venv/bin/python manage.py"
    run(clone, f"{manage} migrate; {manage} create-client billing")
    old, new, _, *listed = run(clone, script).splitlines()
    kinds = {line.split()[0]: line.split()[1] for line in listed}
    assert kinds == {old.split()[2]: "secret", new.split()[-1].rstrip("."): "ES256"}


def test_the_commands_for_many_nodes_serve(clone: Path, postgres: Postgres) -> None:
    (script,) = blocks("Many workers, many nodes", "sh")
    commands = script.splitlines()
    url = postgres.new_database()
    secret, commands[1] = "s" * 32, f"export DATABASE_URL='{url}'"
    assert commands[-1] == ".venv/bin/python app.py"
    output = run(clone, "\n".join([f"export SECRET_KEY={secret}", *commands[1:-1]]))
    assert output.splitlines()[0] == f"The schema is at revision {SCHEMA_REVISION}."
    with serve(clone, code=clone, SECRET_KEY=secret, DATABASE_URL=url) as served:
        run(clone, f"curl -sf -d client_key={key_in(output)} {served.url}/login")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_and_a_failed_start_exit_as_the_page_says(clone: Path, workers: str) -> None:
    run(clone, ".venv/bin/python manage.py migrate", **SECRET)
    with serve(clone, code=clone, WORKERS=workers, **SECRET) as served:
        taken = served.url.rpartition(":")[2]
        start = ".venv/bin/python app.py 2>&1 || echo $?"
        refused = run(clone, start, PORT=taken, **SECRET)
        assert refused.splitlines()[-1] == "2"
        assert f"PORT={taken} is taken" in refused
        assert run(clone, start, PORT="0", **SECRET).splitlines()[-1] == "2"
        served.process.send_signal(signal.SIGTERM)
        ended = served.process.wait(timeout=20)
    assert ended == (-signal.SIGTERM if workers == "1" else 0)
    page = section("Starts, stops and exit codes")
    assert f"exit code is then {128 + signal.SIGTERM} with one worker" in page
    assert f"with {STARTUP_FAILURE} if a worker cannot start" in page


def test_the_ten_commands_for_systemd_serve(clone: Path) -> None:
    """Where neither the user nor systemd is asked for, and the packages are installed already;
    tests/deploy/test_systemd.py asks for both."""
    (script,) = blocks("One machine, with systemd", "sh")
    assert len(script.splitlines()) == 10
    commands = [line for line in script.splitlines() if "-m venv" not in line]
    (at,) = [at for at, line in enumerate(commands) if line.startswith("sudo systemctl enable")]
    shims = """
        sudo() { if [ "$1" = -u ]; then shift 2; fi; "$@"; }
        useradd() { :; }
        ln() { :; }
        cd() { :; }"""
    made = run(clone, "\n".join([shims, *(each for each in commands[:at] if "/pip " not in each)]))
    assert (clone / ".env").stat().st_mode & 0o777 == 0o600
    with serve(clone, code=clone) as served:
        log_in(served, key_in(made))
        answer = run(clone, commands[at + 1].replace("http://127.0.0.1:8000", served.url))
    assert json.loads(answer) == {"status": "ok"}


@pytest.mark.parametrize("title", ["In a container", "Kubernetes"])
def test_what_is_typed_for_a_container_names_what_is_there(title: str) -> None:
    """And is understood by a shell; nothing here runs it."""
    typed = "".join(blocks(title, "sh"))
    subprocess.run(["bash", "-nu"], input=typed, text=True, check=True, timeout=RUN_SECONDS)
    for path in re.findall(r"\bdeploy/[\w./-]+", typed):
        assert path == "deploy/auth-api" or (ROOT / path).exists(), path
    for command in re.findall(r"manage\.py ([\w-]+)", typed):
        assert command in cli.list_commands(click.Context(cli))
    if title == "In a container":
        (folder,) = re.findall(r"--volume=auth-api:(\S+)\"", typed)
        image = (ROOT / "deploy" / "container" / "Containerfile").read_text()
        assert f"VOLUME {folder}\nWORKDIR {folder}\n" in image
        compose = (ROOT / "deploy" / "container" / "compose.yaml").read_text()
        (printed,) = re.findall(r"printf '(SECRET_KEY=%s.+POSTGRES.+)' ", typed)
        assert set(re.findall(r"([A-Z_]+)=%s", printed)) == set(re.findall(r"\$\{(\w+):", compose))


def test_the_metrics_are_told_where_the_page_says(clone: Path) -> None:
    (script,) = blocks("Metrics", "sh")
    start, ask = script.splitlines()
    shown, command, *_ = start.split()
    name, _, port = shown.partition("=")
    assert (name, command) == ("METRICS_PORT", ".venv/bin/python")
    (config,) = [yaml.safe_load(text) for text in blocks("Metrics", "yaml")]
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
    (rules,) = config["rule_files"]
    assert (ROOT / rules.removeprefix("/srv/auth-api/")).is_file()
    free = str(free_port())
    assert ask.count(port) == 1
    with serve(clone, code=clone, METRICS_PORT=free):
        asked = f"{ask.replace(port, free).partition(' | ')[0]} | grep auth_workers"
        until = f"until {asked} | grep -q 'auth_workers 1'; do sleep 0.1; done; "
        assert run(clone, until + ask.replace(port, free)) == "auth_workers 1.0\n"


def test_the_demo_client_is_disabled_as_shown(clone: Path) -> None:
    (script,) = blocks("Development mode", "sh")
    with serve(clone, code=clone) as served:
        assert run(clone, script) == "Disabled 'demo'; its sessions are ended.\n"
        assert call(served, "/login", client_key=served.demo_key).status_code == 401


def test_the_secret_is_rotated_with_nobody_logged_out(clone: Path) -> None:
    (shown,) = blocks("Rotate the secret", "ini")
    old, new = "o" * 32, "n" * 32
    (clone / ".env").write_text(f"SECRET_KEY={old}\n")
    manage = ".venv/bin/python manage.py"
    key = key_in(run(clone, f"{manage} migrate; {manage} create-client billing"))
    with serve(clone, code=clone) as served:
        before = log_in(served, key)
    (clone / ".env").write_text(shown.replace("the old one", old).replace("the new one", new))
    with serve(clone, code=clone) as served:
        assert call(served, "/me", before["access_token"]).status_code == 200
        refreshed = call(served, "/refresh-token", refresh_token=before["refresh_token"])
        assert refreshed.status_code == 200
    (clone / ".env").write_text(f"SECRET_KEY={new}\n")
    with serve(clone, code=clone) as served:
        assert call(served, "/me", before["access_token"]).status_code == 401
        assert call(served, "/me", refreshed.json()["access_token"]).status_code == 200


def test_a_signing_key_is_rotated_as_shown(clone: Path) -> None:
    first, rotate = blocks("Rotate a signing key", "sh")
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
