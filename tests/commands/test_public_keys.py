"""The operator's commands for the public keys of clients that sign."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from manage import cli
from settings import Settings
from tests.assertions import private_pem, write_pem
from tests.conftest import SECRET, Registered
from tests.signing import ES256, RS256, Ed25519

Manage = Callable[..., Result]


@pytest.fixture
def manage(settings: Settings, registered: Registered) -> Manage:
    environ = {"SECRET_KEY": SECRET, "DATABASE_URL": settings.database_url}
    environ |= {"REVOCATION_MAX_AGE_SECONDS": "0"}

    def manage(*arguments: str | Path, status: int = 0) -> Result:
        result = CliRunner().invoke(cli, [str(each) for each in arguments], env=environ)
        assert result.exit_code == status, result.output
        return result

    return manage


def report(manage: Manage, *arguments: str | Path) -> Any:
    return json.loads(manage(*arguments, "--json").stdout)


def test_a_client_is_registered_without_a_secret(manage: Manage, tmp_path: Path) -> None:
    file = write_pem(tmp_path / "public.pem", ES256())
    made = report(manage, "create-client", "signing", "--public-key", file)
    assert {"user_id", "key_id"} <= set(made)
    assert "client_key" not in made
    (key,) = report(manage, "list-keys", "signing")
    assert (key["key_id"], key["kind"]) == (made["key_id"], "ES256")
    other = write_pem(tmp_path / "other.pem", ES256())
    said = manage("create-client", "more", "--public-key", other).stdout
    assert re.fullmatch(r"Registered 'more' as \w{20}, with key \w{16}\.\n", said)


def test_a_public_key_is_added_beside_a_secret(manage: Manage, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [Ed25519().public]}))
    said = manage("add-public-key", "reporting", file, "--expires", "90d").stdout
    assert re.fullmatch(
        r"Added public key \w{16} to 'reporting', which ends at [\d:Z -]+\.\n", said
    )
    kinds = [key["kind"] for key in report(manage, "list-keys", "reporting")]
    assert sorted(kinds) == ["Ed25519", "secret"]
    shown = manage("list-keys", "reporting").stdout.splitlines()
    assert sum("Ed25519" in line for line in shown) == 1


def test_a_rotation_lets_the_older_keys_end(
    manage: Manage, registered: Registered, tmp_path: Path
) -> None:
    first = write_pem(tmp_path / "first.pem", ES256())
    second = write_pem(tmp_path / "second.pem", RS256())
    added = report(manage, "add-public-key", "reporting", first)["key_id"]
    rotated = report(manage, "rotate-public-key", "reporting", second, "--overlap", "1h")
    assert {key["key_id"] for key in rotated["old_keys"]} == {registered.key_id, added}
    kinds = {key["key_id"]: key["expires_at"] for key in report(manage, "list-keys", "reporting")}
    assert kinds.pop(rotated["key_id"]) is None
    assert len(set(kinds.values())) == 1


def test_a_key_is_shown_and_revoked_by_its_id(manage: Manage, tmp_path: Path) -> None:
    file = write_pem(tmp_path / "public.pem", ES256())
    key_id = report(manage, "add-public-key", "reporting", file)["key_id"]
    assert report(manage, "show-key", key_id)["kind"] == "ES256"
    assert report(manage, "revoke-key", key_id, "--yes")["revoked"] == [key_id]
    again = manage("add-public-key", "reporting", file, status=2).stderr
    assert again.splitlines()[-1] == (
        "Error: This key is registered already, or was once; make a new one."
    )


@pytest.mark.parametrize("command", ["add-public-key", "rotate-public-key"])
def test_what_is_no_public_key_is_told_in_a_line(
    manage: Manage, settings: Settings, tmp_path: Path, command: str
) -> None:
    private = tmp_path / "private.pem"
    private.write_bytes(private_pem(ES256()))
    (tmp_path / "a.txt").write_text("key")
    for file, says in (
        (private, "it is a private key; give the public half: openssl pkey -pubout."),
        (tmp_path / "a.txt", "it is neither a PEM nor JSON."),
        (tmp_path / "none.pem", "cannot be read: No such file or directory."),
        (tmp_path, "cannot be read: Is a directory."),
    ):
        said = manage(command, "reporting", file, status=2).stderr
        assert said.startswith(f"Error: {file}")
        assert said.endswith(f"{says}\n")
        assert said.count("\n") == 1
    assert len(report(manage, "list-keys", "reporting")) == 1


def test_a_name_that_is_taken_registers_no_key(
    manage: Manage, settings: Settings, tmp_path: Path
) -> None:
    file = write_pem(tmp_path / "public.pem", ES256())
    manage("create-client", "reporting", "--public-key", file, status=2)
    assert report(manage, "add-public-key", "reporting", file)["key_id"]


PLACES = [
    ({"TOKEN_ISSUER": "https://auth.example/"}, " https://auth.example/oauth/token"),
    ({"HOST": "::1", "PORT": "9000"}, " http://[::1]:9000/oauth/token"),
    ({"HOST": "unix:/run/a.sock"}, " http://localhost/oauth/token"),
]


@pytest.mark.parametrize(("environ", "end"), PLACES)
def test_the_line_for_a_token_names_where_the_service_is(
    settings: Settings, environ: dict[str, str], end: str
) -> None:
    given = {"SECRET_KEY": SECRET, "DATABASE_URL": settings.database_url} | environ
    line = CliRunner().invoke(cli, ["create-client", "x"], env=given).stdout.splitlines()[-1]
    assert line.endswith(end)
    assert ("--unix-socket /run/a.sock " in line) == ("localhost" in end)
