"""The verifiers are packages of their own: whoever installs one gets nothing of the service."""

import ast
import json
import re
import tomllib

from tests.offline.driving import PACKAGES
from tests.offline.installed import run
from tests.serving import ROOT

MODULES = sorted((PACKAGES["python"] / "auth_api_verifier").glob("*.py"))
PROJECT = tomllib.loads((PACKAGES["python"] / "pyproject.toml").read_text())["project"]
PACKAGE = json.loads((PACKAGES["node"] / "package.json").read_text())
OURS = {"authapi", *(path.stem for path in ROOT.glob("*.py"))}
LOADED = """
import json, sys
from importlib.resources import files
import auth_api_verifier
print(json.dumps([(files(auth_api_verifier) / "py.typed").is_file(), "starlette" in sys.modules]))
"""


def imported(code: str) -> set[str]:
    """The packages, by the first part of their names."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


def test_the_python_verifier_imports_what_it_declares_and_nothing_of_ours() -> None:
    declared = {re.split("[<>=]", each)[0] for each in PROJECT["dependencies"]}
    assert declared == {"httpx", "joserfc"}
    for path in MODULES:
        names = imported(path.read_text())
        assert not names & OURS, path.name
        assert ("starlette" in names) == (path.name == "starlette.py")
    assert declared < set.union(*(imported(path.read_text()) for path in MODULES))


def test_it_is_typed_where_it_is_installed_and_loads_no_framework_by_itself(python: str) -> None:
    assert json.loads(run([python, "-I", "-c", LOADED]).stdout) == [True, False]


def test_the_node_verifier_imports_jose_and_what_node_has() -> None:
    code = (PACKAGES["node"] / "index.js").read_text()
    assert set(re.findall(r"from '(\w+)", code)) == {"jose", "node"}
    assert list(PACKAGE["dependencies"]) == ["jose"]


def test_both_are_of_one_version() -> None:
    assert PACKAGE["version"] == PROJECT["version"]
