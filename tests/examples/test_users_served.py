"""docs/examples/users as its page says it is typed: real processes, on both engines."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ENGINES, new_url
from tests.forking import make_clone
from tests.pages.answers import assert_as_shown
from tests.pages.running import SECRET, call, key_in, run, until_it_serves
from tests.serving import ROOT, Served, serve, watched

EXAMPLE = Path("docs/examples/users")
PAGE = (ROOT / EXAMPLE / "README.md").read_text()
PYTHON = f"{ROOT}/.venv/bin/python"
WITH_ROUTES = {"PYTHONPATH": str(ROOT / EXAMPLE), "ROUTES": "users:routes", **SECRET}
PERSON = {"name": "night-shift", "password": "four-words-of-yours"}
WRONG = {"name": "night-shift", "password": "four-words-of-mine"}


def blocks(title: str) -> str:
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    (block,) = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    make_clone(tmp_path)
    shutil.copytree(ROOT / EXAMPLE, tmp_path / EXAMPLE)
    return tmp_path


def test_the_page_is_typed_and_answered_as_it_shows(clone: Path) -> None:
    install, export, *commands = until_it_serves(blocks("Start it")).splitlines()
    assert install == f".venv/bin/pip install -r {EXAMPLE}/requirements.txt"
    (wanted,) = (ROOT / EXAMPLE / "requirements.txt").read_text().splitlines()
    assert f"{wanted}  #" in (ROOT / "requirements-dev.in").read_text()
    settings = dict(each.split("=") for each in export.removeprefix("export ").split())
    printed = run(clone, "\n".join([export, *commands]))
    assert "The table of users is at step 1." in printed
    with serve(clone, code=clone, **settings) as served:
        script = blocks("Use it").replace("http://127.0.0.1:8000", served.url)
        answers = run(clone, script.replace("ck_...", key_in(printed), 1)).splitlines()
        assert len(assert_as_shown(script, answers)) == 6
        pair = call(served, "/users/login", **PERSON).json()
        run(clone, blocks("Manage people"))
        assert call(served, "/me", pair["access_token"]).status_code == 401
        assert call(served, "/users/login", **PERSON).json()["scope"] == "reports:read"


@pytest.mark.parametrize("engine", ENGINES)
def test_people_live_as_machines_do(
    request: pytest.FixtureRequest, engine: str, clone: Path
) -> None:
    environ = WITH_ROUTES | {"DATABASE_URL": new_url(request, engine, clone / "auth.db")}
    environ |= {"WORKERS": "2"}
    manage = ".venv/bin/python manage.py"
    run(clone, f"{manage} migrate", **environ)
    for _ in range(2):
        run(clone, f"cd {ROOT} && {PYTHON} -m users migrate", **environ, **watched())
    made = run(clone, f"{manage} create-client sign-up --scope users:register --json", **environ)
    key = json.loads(made)["client_key"]

    with serve(clone, **environ) as served:
        token = call(served, "/login", client_key=key).json()["access_token"]
        registered = call(served, "/users", token, roles="editor", **PERSON).json()
        assert registered["scope"] == "reports:read reports:write"
        pair = log_in(served)
    with serve(clone, **environ) as served:
        assert status(served, pair) == 200
        pair = call(served, "/refresh-token", refresh_token=pair["refresh_token"]).json()
        assert call(served, "/logout", pair["access_token"]).status_code == 200
        assert [status(served, pair) for _ in range(8)] == [401] * 8  # on each worker
        pair = log_in(served)
        run(clone, f"{manage} disable-client user:night-shift --yes", **environ)
        assert status(served, pair) == 401
        refused, wrong = (call(served, "/users/login", **each) for each in (PERSON, WRONG))
        assert (refused.status_code, refused.text) == (wrong.status_code, wrong.text)
        assert wrong.json()["error"] == "invalid_login"
        run(clone, f"{manage} enable-client user:night-shift", **environ)
        assert status(served, log_in(served)) == 200
        console = served.console
    assert PERSON["password"] not in console
    assert WRONG["password"] not in console
    assert re.search(r"login_refused.+wrong password", console)


def log_in(served: Served) -> dict[str, Any]:
    answer = call(served, "/users/login", **PERSON)
    assert answer.status_code == 200, answer.text
    pair: dict[str, Any] = answer.json()
    return pair


def status(served: Served, pair: dict[str, Any]) -> int:
    return call(served, "/me", pair["access_token"]).status_code


def test_without_its_package_the_start_says_what_to_install(tmp_path: Path) -> None:
    # As if it were not there, which it is where the tests run.
    (tmp_path / "argon2.py").write_text("raise ModuleNotFoundError('none', name='argon2')\n")
    environ = WITH_ROUTES | {"PYTHONPATH": f"{tmp_path}:{ROOT / EXAMPLE}", "PORT": "0"}
    said = run(tmp_path, f"{PYTHON} {ROOT}/app.py 2>&1 || echo $?", **environ, **watched())
    line, exit_code = said.splitlines()
    assert exit_code == "2"
    requirements = ROOT / EXAMPLE / "requirements.txt"
    assert line.startswith("ROUTES=users:routes: ")
    assert line.endswith(f"there is no argon2-cffi; install it: pip install -r {requirements}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [("migrate", "There is no database"), ("", "Usage: python -m users migrate")],
)
def test_a_migration_that_cannot_be_is_one_line(tmp_path: Path, arguments: str, said: str) -> None:
    path = f"{ROOT}:{ROOT / EXAMPLE}"
    command = f"{PYTHON} -m users {arguments} 2>&1 || echo $?"
    environ = WITH_ROUTES | {"PYTHONPATH": path} | watched()
    line, exit_code = run(tmp_path, command, **environ).splitlines()
    assert said in line
    assert exit_code in "12"
    assert not list(tmp_path.glob("auth.db*"))
