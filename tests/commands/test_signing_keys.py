"""The operator's commands for signing keys, as they are typed."""

import json
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from authapi.commands.running import FOLLOWED
from authapi.credentials import base64url, signing_key_file
from authapi.credentials.signing_key_file import read
from authapi.credentials.signing_keys import ALGORITHMS
from authapi.credentials.signing_schedule import PICK_UP_SECONDS
from manage import cli
from tests import signing
from tests.conftest import SECRET
from tests.serving import ROOT, clean_environ
from tests.signing import ES256

WEEK = 604_800
Manage = Callable[..., Result]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def manage(path: Path) -> Manage:
    def manage(*arguments: str, status: int = 0, **environ: str) -> Result:
        environ = {"SECRET_KEY": SECRET, "SIGNING_KEYS_FILE": str(path)} | environ
        result = CliRunner().invoke(cli, arguments, env=environ)
        assert result.exit_code == status, result.output
        return result

    return manage


def report(manage: Manage, *arguments: str) -> Any:
    return json.loads(manage(*arguments, "--json").stdout)


def rotating(path: Path) -> dict[str, ES256]:
    """A file with a key of each state."""
    now = int(time.time())
    keys = {
        "retired": ES256("retired", signs_until=now - 9, retires_at=now - 1),
        "verifying": ES256("verifying", signs_until=now - 5, retires_at=now + WEEK),
        "signing": ES256("signing", signs_from=now - 5, signs_until=now + 99, retires_at=2 * now),
        "prepublished": ES256("prepublished", signs_from=now + 99),
    }
    signing.write(path, *[key.jwk for key in keys.values()])
    return keys


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_the_first_key_makes_the_file_and_signs_at_once(
    manage: Manage, path: Path, alg: str
) -> None:
    result = manage("new-signing-key", "--alg", alg, "--json")
    made = json.loads(result.stdout)
    assert made | {"kid": "", "published_at": 0, "signs_from": 0} == {
        "kid": "",
        "alg": alg,
        "state": "signing",
        "published_at": 0,
        "signs_from": 0,
    }
    assert made["published_at"] == made["signs_from"] == pytest.approx(time.time(), abs=30)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (jwk,) = json.loads(path.read_text())["keys"]
    assert jwk["d"] not in result.output
    event = json.loads(result.stderr)
    assert (event["event"], event["kid"]) == ("signing_key_made", made["kid"])
    (key,) = read(str(path))
    assert key.verify(b"x", base64url.encode(key.sign(b"x")))


def test_the_next_key_is_published_first(manage: Manage, path: Path) -> None:
    first = report(manage, "new-signing-key")
    text = manage("new-signing-key").stdout
    old, new = report(manage, "list-signing-keys")
    assert (old["kid"], old["alg"], old["state"]) == (first["kid"], "ES256", "signing")
    assert new["state"] == "prepublished"
    assert old["signs_until"] == new["signs_from"] == new["published_at"] + 2 * 3600 + 10 + 2
    assert old["retires_at"] == old["signs_until"] + WEEK + 10 + 2
    when = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(new["signs_from"]))
    assert text == f"Made {new['kid']} (ES256), which signs from {when}.\n"


def test_in_an_emergency_it_signs_when_the_command_returns_and_it_warns(
    manage: Manage, path: Path
) -> None:
    old = report(manage, "new-signing-key")["kid"]
    result = manage("new-signing-key", "--now")
    assert "meet a key that they do not know" in result.stdout
    states = {key["kid"]: key["state"] for key in report(manage, "list-signing-keys")}
    assert states.pop(old) == "verifying"
    assert list(states.values()) == ["signing"]
    began = time.monotonic()
    result = manage("retire-signing-key", old, "--yes", FEED_LEASE_SECONDS="1.5")
    assert time.monotonic() - began >= PICK_UP_SECONDS + 1.5
    assert result.stdout == f"Retired {old}; what it signed is refused.{FOLLOWED}\n"
    assert json.loads(result.stderr)["event"] == "signing_key_retired"
    assert [key["kid"] for key in report(manage, "list-signing-keys")] == list(states)


def test_a_kid_may_begin_with_a_dash(manage: Manage) -> None:
    result = manage("retire-signing-key", "-y_--yes", "--yes", status=2)
    assert result.stderr == "Error: There is no key '-y_--yes'; see list-signing-keys.\n"


def test_the_list_shows_the_states_and_the_dates(manage: Manage, path: Path) -> None:
    rotating(path)
    rows = report(manage, "list-signing-keys")
    assert [row["kid"] for row in rows] == [row["state"] for row in rows]
    assert len(rows) == 4
    assert set(rows[2]) == {
        "kid", "alg", "state", "published_at", "signs_from", "signs_until", "retires_at"
    }  # fmt: skip
    header, *lines = manage("list-signing-keys").stdout.splitlines()
    assert re.split("  +", header) == ["KID", "ALG", "STATE", "SIGNS FROM", "STOPS", "RETIRES"]
    assert max(map(len, lines)) <= 105
    for line, row in zip(lines, rows, strict=True):
        cells = [row["kid"], "ES256", row["state"]]
        for name in ("signs_from", "signs_until", "retires_at"):
            when = time.gmtime(row.get(name))
            cells.append(time.strftime("%Y-%m-%d %H:%M:%SZ", when) if name in row else "never")
        assert re.split("  +", line) == cells


def test_what_is_over_leaves_the_file_with_the_next_key(manage: Manage, path: Path) -> None:
    rotating(path)
    manage("new-signing-key")
    kids = [key.kid for key in read(str(path))]
    assert kids[:3] == ["verifying", "signing", "prepublished"]
    assert len(kids) == 4


REFUSALS = {
    "none": "There is no key 'none'; see list-signing-keys.",
    "signing": "signing is the key that signs; run `new-signing-key --now` first.",
    "verifying": "Retire verifying, and refuse every token that it signed? Say --yes, since nobody"
    " can be asked here.",
}


@pytest.mark.parametrize("kid", REFUSALS)
def test_a_key_is_not_retired_unasked_nor_while_it_signs(
    manage: Manage, path: Path, kid: str
) -> None:
    rotating(path)
    before = path.read_bytes()
    yes = [] if kid == "verifying" else ["--yes"]
    result = manage("retire-signing-key", kid, *yes, status=2)
    assert result.stderr == f"Error: {REFUSALS[kid]}\n"
    assert path.read_bytes() == before


def test_when_a_key_that_waits_is_retired_the_other_goes_on(manage: Manage, path: Path) -> None:
    rotating(path)
    manage("retire-signing-key", "prepublished", "--yes")
    rows = {row["kid"]: row for row in report(manage, "list-signing-keys")}
    assert set(rows["signing"]) == {"kid", "alg", "state", "published_at", "signs_from"}


COMMANDS = [["new-signing-key"], ["list-signing-keys"], ["retire-signing-key", "es", "--yes"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
def test_without_the_setting_nothing_is_done(manage: Manage, command: list[str]) -> None:
    result = manage(*command, status=2, SIGNING_KEYS_FILE="")
    assert result.stderr.startswith("Error: Set SIGNING_KEYS_FILE to where the keys are")
    result = manage(*command, status=2, PORT="x")
    assert "PORT" in result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
@pytest.mark.parametrize("fault", ["no JSON", "world-readable", "public", "duplicate"])
def test_a_file_at_fault_is_told_in_a_line_and_left_alone(
    manage: Manage, path: Path, command: list[str], fault: str
) -> None:
    key = ES256("es")
    signing.write(
        path,
        key.public if fault == "public" else key.jwk,
        *([key.jwk] if fault == "duplicate" else []),
        mode=0o644 if fault == "world-readable" else 0o600,
    )
    if fault == "no JSON":
        path.write_text("{")
    before = path.read_bytes(), path.stat().st_ino
    result = manage(*command, status=2)
    assert result.stderr.startswith(f"Error: {path}")
    assert result.stderr.count("\n") == 1
    assert (path.read_bytes(), path.stat().st_ino) == before


def test_a_folder_that_is_not_there_is_told(manage: Manage, path: Path) -> None:
    result = manage("new-signing-key", status=2, SIGNING_KEYS_FILE=str(path.parent / "x" / "y"))
    assert result.stderr.startswith("Error: The file of signing keys cannot be written: ")
    assert result.stderr.count("\n") == 1


def test_another_alg_is_refused(manage: Manage, path: Path) -> None:
    assert "'HS256' is not one of" in manage("new-signing-key", "--alg", "HS256", status=2).stderr
    assert not path.exists()


def test_a_command_waits_for_another_that_changes_the_file(path: Path) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), "new-signing-key"]
    environ = clean_environ() | {"SECRET_KEY": SECRET, "SIGNING_KEYS_FILE": str(path)}
    with signing_key_file.alone(str(path)):
        process = subprocess.Popen(command, cwd=path.parent, env=environ)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        assert not path.exists()
    assert process.wait(60) == 0
    assert len(read(str(path))) == 1
