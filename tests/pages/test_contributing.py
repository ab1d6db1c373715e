"""CONTRIBUTING.md names what is there, its map is that of the imports, and it makes a revision."""

import re
import shutil
import subprocess
from itertools import pairwise, product
from pathlib import Path

from tables import SCHEMA_REVISION
from tests.pages.running import RUN_SECONDS, SECRET, run
from tests.project.test_house import arrows
from tests.serving import ROOT, clean_environ, code_files

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
VERSIONS = Path("authapi/engines/migrations/versions")
NEXT = f"{int(SCHEMA_REVISION) + 1:04d}"
PLACE = r"[\w.-]+(?:/[\w.-]+)*(?:/|\.(?:py|md|in|json|example))"


def test_every_file_that_a_checklist_names_is_there() -> None:
    lists, _, _ = CONTRIBUTING.partition("## The map")
    named = set(re.findall(rf"`({PLACE})`", lists))
    assert len(named) > 20
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_name_that_a_checklist_gives_is_in_the_file_that_it_names() -> None:
    steps = re.findall(r"^\d\. (?:.+\n)(?:   .+\n)*", CONTRIBUTING, re.MULTILINE)
    steps += re.findall(r"^A module of your own .+$", CONTRIBUTING, re.MULTILINE)
    found = 0
    for step in steps:
        files = [name for name in re.findall(rf"`({PLACE})`", step) if name.endswith(".py")]
        for name in re.findall(r"`([A-Z][A-Za-z_]+)`", step):
            code = "".join((ROOT / file).read_text() for file in files)
            assert re.search(rf"\b{name}\b", code), f"{name}: {files}"
            found += 1
    assert found >= 10


def test_every_module_is_on_the_map() -> None:
    rows = re.findall(r"^\| `(authapi/(?:\w+/)?)` \| (.+) \|$", CONTRIBUTING, re.MULTILINE)
    described = [
        f"{folder}{module}" for folder, text in rows for module in re.findall(r"`(\w+\.py)`", text)
    ]
    modules = [path.relative_to(ROOT) for path in code_files()]
    assert sorted(described) == sorted(
        str(path)
        for path in modules
        if path.parts[0] == "authapi" and path.name != "__init__.py" and len(path.parts) <= 3
    )


def test_every_arrow_of_the_map_is_an_import() -> None:
    (drawing,) = re.findall(r"```mermaid\n(.*?)```", CONTRIBUTING, re.DOTALL)
    named = re.findall(r"(\w+)\[(\w+)(?:\.py|/)<br>", drawing)
    assert [node for node, _ in named] == [place for _, place in named]
    drawn = set()
    for line in re.sub(r"\[.*?\]", "", drawing).splitlines()[1:]:
        steps = [step.split(" & ") for step in line.strip().split(" --> ")]
        for ends in pairwise(steps):
            drawn |= set(product(*ends))
    assert len(drawn) > 20
    assert {node for node, _ in named} == set(arrows())
    assert {end for arrow in drawn for end in arrow} == set(arrows())
    assert not [(one, other) for one, other in drawn if other not in arrows()[one]]


def make_migration(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # What is installed stays: this test is not about packages.
    return subprocess.run(
        ["make", "--silent", "--assume-old=.venv/dev.stamp", "migration", *arguments],
        cwd=folder,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )


def test_a_revision_is_made_in_the_style_of_the_house_and_runs(copy: Path) -> None:
    for name in ("Makefile", "pyproject.toml", VERSIONS.parent / "script.py.mako"):
        shutil.copy(ROOT / name, copy / name)
    (command,) = re.findall(r"`make migration NAME=\"(.+?)\"`", CONTRIBUTING)
    made = make_migration(copy, f"NAME={command}")
    assert made.returncode == 0, made.stderr
    file = copy / VERSIONS / f"{NEXT}_{command.lower().replace(' ', '_')}.py"
    assert made.stdout.splitlines()[0] == str(file.relative_to(copy))
    code = file.read_text()
    assert code.startswith(f'"""{command}."""\n')
    run(copy, f".venv/bin/ruff check {file} && .venv/bin/ruff format --check {file}")
    # As the checklist goes on.
    file.write_text(code.replace('"table"', '"clients"').replace('"name"', '"notes"'))
    tables = (copy / "tables.py").read_text()
    number = f'SCHEMA_REVISION = "{SCHEMA_REVISION}"'
    column = '    Column("disabled_at", BigInteger),\n'
    assert tables.count(number) == tables.count(column) == 1
    tables = tables.replace(number, f'SCHEMA_REVISION = "{NEXT}"')
    (copy / "tables.py").write_text(
        tables.replace(column, f'{column}    Column("notes", BigInteger),\n')
    )
    manage = ".venv/bin/python manage.py"
    commands = "migrate", "create-client billing", "add-key billing", "list-clients", "doctor"
    printed = run(copy, "\n".join(f"{manage} {each}" for each in commands), **SECRET)
    assert f"The schema is at revision {NEXT}." in printed
    again = make_migration(copy, "NAME=Another one")
    assert f"{int(NEXT) + 1:04d}_another_one.py" in again.stdout


def test_a_revision_needs_a_name(copy: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, copy / name)
    before = sorted((copy / VERSIONS).iterdir())
    refused = make_migration(copy)
    assert refused.returncode == 2
    assert "NAME=" in refused.stderr
    assert sorted((copy / VERSIONS).iterdir()) == before
