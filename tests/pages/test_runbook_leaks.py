"""After a leak, what the runbook says ends what leaked and lets the clients go on."""

import re
import shutil
from pathlib import Path

from authapi.credentials.client_keys import is_well_formed, new_client_key
from tests.pages.operator import STOPS, Operator, create_client, faults
from tests.pages.reading import section
from tests.pages.running import call, log_in, run
from tests.serving import ROOT


def test_a_leaked_key(live: Path) -> None:
    operator = Operator(live, "A client key leaked")
    check, act, over = operator.blocks
    leaked = create_client(live)
    (live / "leaked.txt").write_text(f"+KEY={leaked}\n")
    shutil.copytree(ROOT / "tests" / "attacks", live / "tests" / "attacks")
    with operator.serving() as served:
        pair = log_in(served, leaked)
        key_id = leaked.split("_")[1]
        assert key_id in operator.type(check)
        _, added, revoked, found = operator.type(act).splitlines()
        assert is_well_formed(added)
        assert revoked.startswith(f"Revoked {key_id} of ")
        assert found == "./leaked.txt"
        (line,) = [each for each in operator.type(over).splitlines() if key_id in each]
        assert "revoked" in line
        assert call(served, "/me", pair["access_token"]).status_code == 401
        assert call(served, "/login", client_key=leaked).status_code == 401
        log_in(served, added)


def test_the_pattern_of_a_key_finds_each_key_and_no_torso(tmp_path: Path) -> None:
    keys = [new_client_key().text for _ in range(100)]
    match = re.search(r"grep .+ ('\S+')", section("A client key leaked"))
    assert match is not None
    torsos = [key[:-1] for key in keys] + [key[1:] for key in keys]
    lines = [f"x{key}y\n{key} {key}" for key in keys] + torsos
    (tmp_path / "log.txt").write_text("\n".join(lines))
    found = run(tmp_path, f"grep -oE {match[1]} log.txt").splitlines()
    assert found == [key for key in keys for _ in range(3)]


def test_a_leaked_secret(live: Path) -> None:
    operator = Operator(live, "The secret leaked")
    check, act, over = operator.blocks
    key = create_client(live)
    with operator.serving() as served:
        pair = log_in(served, key)
        assert operator.type(check) == "1\n"
    *commands, restart = act.splitlines()
    assert restart == f"{STOPS}restart auth-api"
    operator.type("\n".join(commands))
    assert not re.findall("o{32}|p{32}", (live / ".env").read_text())
    with operator.serving() as served:
        assert call(served, "/me", pair["access_token"]).status_code == 401
        log_in(served, key)
        said = operator.type(over)
        assert served.console.count("unknown header") == 1
    assert not faults(said)
    assert "0 previous secrets still verify." in said
    assert said.splitlines()[-1] == "2"  # with that of before


def test_a_leaked_signing_key(live: Path) -> None:
    (live / ".env").write_text("SIGNING_KEYS_FILE=signing-keys.json\n")
    operator = Operator(live, "A signing key leaked")
    check, act, over = operator.blocks
    run(live, ".venv/bin/python manage.py new-signing-key")
    key = create_client(live)
    with operator.serving() as served:
        pair = log_in(served, key)
        _, line = operator.type(check).splitlines()
        old = line.split()[0]
        operator.type(act.replace("KID", old))
        assert call(served, "/me", pair["access_token"]).status_code == 401
        fresh = log_in(served, key)
        assert call(served, "/me", fresh["access_token"]).status_code == 200
    _, left = operator.type(over).splitlines()
    assert left.split()[2] == "signing"
    assert old not in left
