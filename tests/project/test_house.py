"""The house stays as it was drawn: what may import what, a sentence on every door, its size."""

import ast
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from tests.serving import ROOT, code_files

MIGRATIONS = Path("authapi/engines/migrations")

# A module at the root is a package of its own, and so is authapi/errors.py.
MAY_IMPORT = {
    package: set(others.split())
    for package, others in {
        # the ground
        "errors": "",
        "request_errors": "errors",
        "addresses": "",
        "deadline": "",
        "clocks": "",
        "file_rights": "",
        "tables": "",
        "telemetry": "errors",
        # the rooms
        "credentials": "errors file_rights telemetry",
        "setting_fields": "addresses engines",
        "settings": "credentials file_rights setting_fields",
        "web": "addresses deadline errors request_errors telemetry",
        "engines": "deadline errors file_rights tables telemetry",
        "store": "credentials engines errors tables",
        "throttling": "errors telemetry",
        "revocation": "clocks credentials deadline engines errors store",
        "managing": "clocks credentials deadline engines errors request_errors revocation store "
        "telemetry",
        "rules": "clocks credentials engines errors managing request_errors revocation store "
        "telemetry throttling",
        "openapi": "credentials errors managing request_errors throttling web",
        "html": "",
        "server": "addresses credentials engines errors file_rights request_errors setting_fields "
        "settings store telemetry web",
        "commands": "addresses credentials engines errors file_rights managing request_errors "
        "revocation server setting_fields settings store tables telemetry web",
        # the doors
        "service": "clocks credentials engines managing revocation rules server settings telemetry "
        "throttling web",
        "auth_backend": "credentials errors web",
        "handlers": "auth_backend credentials engines errors managing request_errors revocation "
        "rules store telemetry throttling web",
        "oauth_handlers": "auth_backend credentials errors handlers request_errors revocation web",
        "admin_handlers": "auth_backend credentials engines errors handlers managing "
        "request_errors telemetry web",
        "page_handlers": "addresses errors handlers html request_errors store web",
        "app": "admin_handlers auth_backend clocks engines handlers html oauth_handlers openapi "
        "page_handlers server service settings telemetry web",
        "subjects": "credentials engines errors rules store telemetry throttling web",
        "extending": "auth_backend commands engines errors openapi request_errors subjects "
        "throttling web",
        "testing": "app credentials engines settings store",
        "manage": "commands telemetry",
    }.items()
}
# A whole package, or single modules of one.
ONLY_IN = {
    library: set(places.split())
    for library, places in {
        "alembic": "engines",
        "asyncpg": "engines/postgres",
        "aiosqlite": "engines",
        "click": "commands manage",
        "databases": "engines",
        "joserfc": "credentials/assertions credentials/signing_keys",
        "limits": "setting_fields throttling",
        "apispec": "openapi",
        "jinja2": "html",
        "marshmallow": "openapi setting_fields settings web",
        "prometheus_client": "server/metrics",
        "sqlalchemy": "engines store tables",
        "starlette": "admin_handlers app auth_backend handlers html oauth_handlers openapi "
        "page_handlers server/main subjects testing web",
        "uvicorn": "server",
    }.items()
}


@cache
def files() -> dict[Path, ast.Module]:
    """Not read as this is imported, which each process of a test run does."""
    return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in code_files()}


def modules() -> dict[Path, ast.Module]:
    return {
        path: tree
        for path, tree in files().items()
        if path.name != "__init__.py" and MIGRATIONS not in path.parents
    }


def package_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return parts[1] if parts[0] == "authapi" and len(parts) > 1 else parts[0]


def module_of(path: Path) -> str:
    return path.with_suffix("").as_posix().removeprefix("authapi/")


def imports(tree: ast.Module) -> set[str]:
    """What is imported, as it is written: `authapi.store.sessions`, `starlette.types.Scope`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(imported: Iterable[str]) -> set[str]:
    """Those of ours among them."""
    return {package_of(Path(*name.split("."))) for name in imported} & set(MAY_IMPORT)


@cache
def arrows() -> dict[str, set[str]]:
    """Which package imports which, by what is written today."""
    drawn: dict[str, set[str]] = {package: set() for package in MAY_IMPORT}
    for path, tree in files().items():
        if path.name != "__init__.py":
            drawn[package_of(path)] |= packages(imports(tree)) - {package_of(path)}
    return drawn


def test_every_module_has_its_place() -> None:
    assert {package_of(path) for path in modules()} == set(MAY_IMPORT)


def test_no_room_is_crowded() -> None:
    counts = Counter(path.parent for path in modules())
    assert counts.pop(Path()) <= 9
    assert not {folder: count for folder, count in counts.items() if count > 10}


def test_every_folder_of_modules_is_a_package() -> None:
    """Else coverage would not notice what no test reaches there."""
    folders = {path.parent for path in modules()} - {Path()}
    assert {path.parent for path in files() if path.name == "__init__.py"} == folders
    for path, tree in files().items():
        if path.name == "__init__.py":
            assert len(tree.body) == 1, f"{path} says more than its sentence"


def test_data_flows_one_way() -> None:
    more = {package: others - MAY_IMPORT[package] for package, others in arrows().items()}
    assert not {package: others for package, others in more.items() if others}


def test_packages_import_each_other_in_no_circle() -> None:
    TopologicalSorter(arrows()).prepare()  # raises `CycleError`, which names the circle
    TopologicalSorter(MAY_IMPORT).prepare()


def test_a_library_is_met_at_one_border() -> None:
    met: dict[str, set[Path]] = {library: set() for library in ONLY_IN}
    for path, tree in files().items():
        for library in {name.split(".")[0] for name in imports(tree)} & set(ONLY_IN):
            met[library].add(path)
    for library, places in ONLY_IN.items():
        elsewhere = [
            path for path in met[library] if not {package_of(path), module_of(path)} & places
        ]
        assert not elsewhere, library
        used = {place for path in met[library] for place in (package_of(path), module_of(path))}
        assert places <= used, f"{library} is not in all of {places}"


def test_every_module_says_in_a_sentence_what_it_is_for() -> None:
    summaries = {
        path: (ast.get_docstring(tree) or "").split("\n\n")[0]
        for path, tree in files().items()
        if MIGRATIONS not in path.parents
    }
    assert not {
        path: summary
        for path, summary in summaries.items()
        if not summary.endswith(".") or len(summary) > 200
    }


def test_no_module_is_too_long_to_read_at_a_sitting() -> None:
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in modules()}
    assert not {path: length for path, length in lengths.items() if length > 200}


def test_functions_are_short() -> None:
    lengths = {}
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                lengths[f"{path}:{node.lineno} {node.name}"] = length
    assert statistics.median(lengths.values()) < 8
    assert not {name: length for name, length in lengths.items() if length > 45}


def test_importing_the_application_touches_nothing(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import app, tables, manage"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
