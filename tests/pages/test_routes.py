"""Routes of one's own work as the pages show them, and are tested and refused as they say."""

import ast
import inspect
import json
import re
from pathlib import Path

import httpx
import pytest

from authapi import extending
from authapi.errors import Refusal
from tests.pages.reading import blocks, section, table
from tests.pages.running import SECRET, call, log_in, run
from tests.serving import Served, create_client, serve

TITLES = ("Add a route", "Read a body", "Begin sessions of your own", "Test your routes")


def modules() -> dict[str, str]:
    """The code of each module that the page shows, by its name."""
    shown = [block for title in TITLES for block in blocks(title, "python")]
    heads = [block.partition("\n") for block in shown]
    return {head.removeprefix("# ").removesuffix(".py"): code for head, _, code in heads}


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.py").write_text(modules()[name])


def setting() -> dict[str, str]:
    """As the page sets it, before it starts the service."""
    (script,) = blocks("Add a route", "sh")
    export, start = script.splitlines()
    assert start == ".venv/bin/python app.py"
    name, value = export.removeprefix("export ").split("=")
    return {name: value}


def post(served: Served, path: str, token: str, **options: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(served.url + path, headers=headers, json=options or None, verify=False)


def test_a_route_is_opened_by_a_token_and_by_a_scope(clone: Path) -> None:
    write(clone, "reports")
    (grants,) = blocks("Require a scope", "sh")
    with serve(clone, code=clone, **setting()) as served:
        token = log_in(served, served.demo_key)["access_token"]
        assert call(served, "/report", token).json()["report"] == [1, 2, 3]
        assert call(served, "/report").json()["error"] == "missing_token"
        refused = post(served, "/reports", token)
        assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")
        (writer,) = re.findall(r"^ck_\w+$", run(clone, grants), re.MULTILINE)
        for key in (writer, served.demo_key):
            token = log_in(served, key)["access_token"]
            assert post(served, "/reports", token).json()["scopes"] == ["reports:write"]


def test_a_body_is_read_and_refused_and_no_file_of_the_service_is_touched(tmp_path: Path) -> None:
    """In a folder of one's own, on several workers."""
    write(tmp_path, "reports", "notes", "my_api")
    (named,) = re.findall(r"set `ROUTES=(.+)`", section("Read a body"))
    client_key = create_client(tmp_path, **SECRET)
    with serve(tmp_path, ROUTES=named, **SECRET) as served:
        token = log_in(served, client_key)["access_token"]
        assert call(served, "/report", token).status_code == 200
        assert call(served, "/note", token).status_code == 404
        assert post(served, "/note", token, text="a").json() == {"text": "a"}
        assert call(served, "/note", token).json() == {"text": "a"}
        refused = post(served, "/note", token, text="a" * 201)
        assert refused.status_code == 400
        assert list(refused.json()["fields"]) == ["text"]
        assert post(served, "/note", token).status_code == 400


def test_a_route_of_ones_own_begins_a_session(clone: Path) -> None:
    write(clone, "doors")
    with serve(clone, code=clone, ROUTES="doors:routes") as served:
        run(clone, ".venv/bin/python manage.py set-scopes demo doors:add")
        adder = log_in(served, served.demo_key)["access_token"]
        (typed,) = blocks("Begin sessions of your own", "sh")
        add, enter = typed.replace("http://127.0.0.1:8000", served.url).splitlines()
        made = json.loads(run(clone, add, ACCESS=adder))
        assert post(served, "/doors", adder, door="north").json() == {"user_id": None}
        refused = call(served, "/doors/open", door="north", code="a-guess")
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_login")
        opened = json.loads(run(clone, enter))
        assert (opened["user_id"], opened["scope"]) == (made["user_id"], "doors:open")
        assert call(served, "/me", opened["access_token"]).json()["name"] == "door:north"
        assert call(served, "/logout", opened["access_token"]).status_code == 200
        assert call(served, "/me", opened["access_token"]).status_code == 401


def test_the_test_of_the_page_passes_and_fails_with_the_route(clone: Path) -> None:
    write(clone, "reports", "test_reports")
    install, command = blocks("Test your routes", "sh")[0].splitlines()
    assert install.endswith("-r requirements-dev.txt")
    assert "3 passed" in run(clone, command)
    (clone / "reports.py").write_text(modules()["reports"].replace("reports:write", "any"))
    assert "1 failed, 2 passed" in run(clone, f"{command} || true")


def test_the_pages_import_what_is_for_extending_alone() -> None:
    readme = blocks("Protect your API", "python")
    for code in (*modules().values(), *readme):
        imported = {
            node.module for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)
        }
        assert imported <= {
            "starlette.requests",
            "marshmallow",
            "authapi.extending",
            "authapi.testing",
        }


def test_every_refusal_that_can_be_raised_is_listed() -> None:
    kinds = {
        name: kind
        for name in extending.__all__
        if inspect.isclass(kind := getattr(extending, name)) and issubclass(kind, Refusal)
    }
    del kinds["Refusal"]
    listed = {name: cells[0].partition(";")[0] for name, cells in table("Refuse").items()}
    assert listed == {name: f"{kind.status} `{kind.error}`" for name, kind in kinds.items()}


NOTHING = "routes = []"
SLIPS = {
    "there is no such module": ("other.py", NOTHING),
    "has no list of routes": ("reports.py", "routes = 7"),
    "is a path of the service": (
        "reports.py",
        "from authapi.extending import Endpoint\nroutes = [Endpoint('/me', print)]",
    ),
    "NameError": ("reports.py", "\n\n\n\n\n\nroutes = [Endpoint('/report', print)]"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_ends_the_start_with_the_line_that_the_page_shows(clone: Path, slip: str) -> None:
    (line,) = [line for line in table("What is refused at the start") if slip in line]
    file, code = SLIPS[slip]
    (clone / file).write_text(code)
    start = ".venv/bin/python app.py 2>&1 || echo $?"
    said, status = run(clone, start, PORT="0", **setting(), **SECRET).splitlines()
    assert status == "2"
    assert said.startswith("ROUTES=reports:routes: ")
    assert line.partition("`")[0] in said
    assert not list(clone.glob("auth.db*"))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("\nroutes = (", "line 2: SyntaxError: '(' was never closed"),
        ("import json\njson.loads('x')", "line 2: JSONDecodeError: Expecting value"),
        (
            "from authapi.extending import requires_scope\n\n\n@requires_scope('a\"b')\nasync "
            "def report(request): ...",
            "line 4: ValueError: not a list of scopes",
        ),
    ],
)
def test_the_line_is_that_of_the_module_wherever_the_fault_was_raised(
    clone: Path, code: str, said: str
) -> None:
    (clone / "reports.py").write_text(code)
    start = ".venv/bin/python app.py 2>&1 || true"
    (line,) = run(clone, start, PORT="0", **setting(), **SECRET).splitlines()
    assert f"{clone}/reports.py, {said}" in line


def test_a_module_in_what_is_no_package_is_not_there(clone: Path) -> None:
    (clone / "reports.py").write_text(NOTHING)
    start = ".venv/bin/python app.py 2>&1 || true"
    (line,) = run(clone, start, PORT="0", ROUTES="reports.more:routes", **SECRET).splitlines()
    assert "there is no such module" in line


def test_the_route_of_the_readme_serves(copy: Path) -> None:
    (code,) = blocks("Protect your API", "python")
    assert "`ROUTES=reports:routes`" in section("Protect your API")
    (copy / "reports.py").write_text(code)
    with serve(copy, code=copy, ROUTES="reports:routes") as served:
        token = log_in(served, served.demo_key)["access_token"]
        assert call(served, "/report", token).json()["report"] == [1, 2, 3]
