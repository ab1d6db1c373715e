"""Routes of one's own work as the pages show them."""

import ast
from pathlib import Path

import httpx
import pytest

from tests.pages.reading import blocks, section
from tests.pages.running import call, log_in, run
from tests.serving import Served, serve

LINE = "# app.py, a line of `routes`\n"


def modules() -> dict[str, str]:
    """The code of each module that the page shows, by its name."""
    shown = [block for title in ("Add a route", "Read a body") for block in blocks(title, "python")]
    return {
        head.removeprefix("# ").removesuffix(".py"): code
        for head, _, code in (block.partition("\n") for block in shown)
        if head + "\n" != LINE
    }


def add_to_app(app: Path, module: str, line: str) -> None:
    """Wherever the list stands, and whatever is in it."""
    code = app.read_text()
    (routes,) = [
        node.value
        for node in ast.parse(code).body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "routes"
    ]
    assert isinstance(routes, ast.List)
    lines = code.splitlines(keepends=True)
    first = lines[routes.lineno - 1]
    cut = routes.col_offset + 1
    lines[routes.lineno - 1] = f"{first[:cut]}{line.strip()}{first[cut:]}"
    docstring_end = ast.parse(code).body[0].end_lineno or 0
    lines.insert(docstring_end, f"import {module}\n")
    app.write_text("".join(lines))


def add_modules(clone: Path, **code: str) -> None:
    (line,) = [block for block in blocks("Add a route", "python") if block.startswith(LINE)]
    for module, text in code.items():
        (clone / f"{module}.py").write_text(text)
        line_of_it = line.removeprefix(LINE).replace("reports", module)
        add_to_app(clone / "app.py", module, line_of_it)


def post(served: Served, path: str, token: str, **options: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(served.url + path, headers=headers, json=options or None)


def test_a_route_is_opened_by_a_token_and_by_a_scope(clone: Path) -> None:
    add_modules(clone, reports=modules()["reports"])
    (grants,) = blocks("Require a scope", "sh")
    with serve(clone, code=clone) as served:
        token = log_in(served, served.demo_key)["access_token"]
        assert call(served, "/report", token).json()["report"] == [1, 2, 3]
        assert call(served, "/report").json()["error"] == "missing_token"
        refused = post(served, "/reports", token)
        assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")
        writer = run(clone, grants).splitlines()[1]
        for key in (writer, served.demo_key):
            token = log_in(served, key)["access_token"]
            assert post(served, "/reports", token).json()["scopes"] == ["reports:write"]


def test_a_body_is_read_and_refused(clone: Path) -> None:
    add_modules(clone, **modules())
    with serve(clone, code=clone) as served:
        token = log_in(served, served.demo_key)["access_token"]
        assert call(served, "/note", token).status_code == 404
        assert post(served, "/note", token, text="a").json() == {"text": "a"}
        assert call(served, "/note", token).json() == {"text": "a"}
        refused = post(served, "/note", token, text="a" * 201)
        assert refused.status_code == 400
        assert list(refused.json()["fields"]) == ["text"]
        assert post(served, "/note", token).status_code == 400


def test_the_route_of_the_readme_serves(clone: Path) -> None:
    (code,) = blocks("Protect your API", "python")
    assert "add\n`*reports.routes,` to `routes`" in section("Protect your API")
    add_modules(clone, reports=code)
    with serve(clone, code=clone) as served:
        token = log_in(served, served.demo_key)["access_token"]
        assert call(served, "/report", token).json()["report"] == [1, 2, 3]


@pytest.mark.parametrize("app", ["routes: list[int] = []\n", "routes: list[int] = [\n    1,\n]\n"])
def test_the_line_is_added_however_the_list_is_written(tmp_path: Path, app: str) -> None:
    file = tmp_path / "app.py"
    file.write_text(f'"""A docstring."""\n\n{app}')
    (tmp_path / "more.py").write_text("routes = [7]\n")
    add_to_app(file, "more", "*more.routes,\n")
    run(tmp_path, "python3 -c 'import app; assert app.routes[0] == 7'")
