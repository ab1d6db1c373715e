"""The house stays as it was drawn: what may import what, a sentence in every room, its size."""

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {path.stem: ast.parse(path.read_text()) for path in sorted(ROOT.glob("*.py"))}

MAY_IMPORT: dict[str, set[str]] = {
    name: set(imported.split())
    for name, imported in {
        # what the service is made of
        "settings": "claims",
        "errors": "",
        "schemas": "",
        "background": "errors",
        "base64url": "",
        "clocks": "",
        "deadline": "",
        "claims": "base64url",
        "scopes": "",
        "client_keys": "",
        # the database
        "tables": "",
        "statements": "",
        "commit_order": "",
        "following": "commit_order database",
        "server_lock": "",
        "sqlite_writer": "",
        "sqlite_backend": "sqlite_writer statements",
        "postgres_backend": "statements",
        "database": "deadline errors postgres_backend sqlite_backend statements",
        "schema": "database postgres_backend sqlite_backend tables",
        "endings": "claims commit_order database tables",
        "database_identity": "database endings tables",
        "store": "claims database endings tables",
        "registry": "client_keys database endings key_registry scopes tables",
        "key_registry": "client_keys database endings store tables",
        "key_uses": "database key_registry",
        "purging": "clocks database database_identity revocations",
        "copying": "commit_order database schema server_lock tables",
        "sqlite_files": "",
        "survey": "database database_identity endings store tables",
        # the rules
        "signing_keys": "base64url",
        "key_schedule": "signing_keys",
        "key_file": "audit key_schedule settings signing_keys",
        "tokens": "base64url claims errors signing_keys",
        "revocations": "claims clocks database endings following",
        "issuing": "database database_identity",
        "lookups": "revocations",
        "logins": "client_keys database errors lookups scopes store",
        "sessions": "audit claims client_logins database endings errors issuing key_uses logins "
        "lookups store tokens",
        # HTTP
        "headers": "",
        "audit": "deadline headers",
        "shared_count": "",
        "refusals": "audit",
        "answers": "audit errors refusals",
        "guessing": "errors shared_count",
        "client_logins": "errors shared_count",
        "http_protocol": "errors payloads",
        "payloads": "errors headers schemas",
        "auth_backend": "answers claims errors headers revocations scopes tokens",
        "handlers": "answers audit auth_backend database errors guessing key_file lookups "
        "payloads refusals registry schemas sessions store tokens",
        # what is run
        "development": "client_keys database registry settings",
        "server": "audit database development errors http_protocol key_file schema server_lock "
        "settings",
        "app": "answers audit auth_backend background client_logins clocks database development "
        "guessing handlers issuing key_file key_schedule key_uses lookups purging refusals "
        "revocations schema server server_lock sessions settings shared_count tokens",
        "commands": "database errors registry revocations schema settings",
        "client_commands": "audit client_keys commands database registry scopes settings",
        "key_commands": "audit client_keys commands database key_registry settings",
        "key_revoking": "audit client_keys commands database key_registry settings",
        "signing_key_commands": "audit commands key_file key_schedule settings signing_keys",
        "doctor": "settings sqlite_files",
        "doctor_database": "database development doctor errors revocations schema settings survey "
        "tables",
        "database_commands": "audit claims commands copying database database_identity "
        "development doctor doctor_database purging revocations schema settings sqlite_files "
        "survey tables",
        "manage": "audit client_commands database_commands key_commands key_revoking "
        "signing_key_commands",
    }.items()
}
ONLY_IN = {
    "joserfc": {"signing_keys"},
    "click": {
        "client_commands",
        "commands",
        "database_commands",
        "key_commands",
        "key_revoking",
        "manage",
        "signing_key_commands",
    },
    "uvicorn": {"http_protocol", "server"},
    "limits": {"client_logins", "guessing", "settings", "shared_count"},
    "marshmallow": {"payloads", "schemas", "settings"},
    "starlette": {"answers", "app", "audit", "auth_backend", "handlers", "payloads"},
    "sqlalchemy": {
        "commit_order",
        "copying",  # its statements are made of the tables, whatever columns these have
        "database",
        "database_identity",
        "endings",
        "following",
        "key_registry",
        "postgres_backend",
        "registry",
        "schema",
        "sqlite_backend",
        "statements",
        "store",
        "survey",
        "tables",
    },
}


def imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def test_every_module_has_its_place() -> None:
    assert set(MODULES) == set(MAY_IMPORT)


@pytest.mark.parametrize("module", MODULES)
def test_data_flows_one_way(module: str) -> None:
    assert imports(MODULES[module]) & set(MODULES) == MAY_IMPORT[module]


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_met_at_one_border(library: str) -> None:
    assert {name for name, tree in MODULES.items() if library in imports(tree)} == ONLY_IN[library]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_in_a_sentence_what_it_is_for(module: str) -> None:
    summary = (ast.get_docstring(MODULES[module]) or "").split("\n\n")[0]
    assert summary.endswith(".")
    assert len(summary) <= 200


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_too_long_to_read_at_a_sitting(module: str) -> None:
    assert len((ROOT / f"{module}.py").read_text().splitlines()) <= 220


def test_functions_are_short() -> None:
    lengths = []
    for tree in MODULES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lengths.append((body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0)
    assert statistics.median(lengths) < 8
    assert max(lengths) <= 45


def test_importing_the_application_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess
    import sys

    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import app, tables, manage"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
