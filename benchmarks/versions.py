"""What was measured: the versions of everything that takes part."""

import json
import platform
import subprocess
from importlib import metadata

from peer import NODE, PEERS, PYTHON

OURS = ("starlette", "uvicorn", "uvloop", "httptools", "joserfc", "orjson", "databases")
PYTHON_PEERS = (
    *("fastapi", "pydantic", "python-jose", "SQLAlchemy", "Flask", "Flask-JWT-Extended"),
    *("Flask-SQLAlchemy", "Django", "djangorestframework", "djangorestframework_simplejwt"),
    *("gunicorn", "uvicorn"),
)
NODE_PEERS = ("fastify", "@fastify/jwt", "better-sqlite3")


def find(peers: list[str]) -> dict[str, dict[str, str]]:
    """By who uses them; of the peers, those that were measured."""
    found = {
        "machine": {"python": platform.python_version(), "wrk": _run("wrk", "-v").split()[1]},
        "ours and bare": {name: metadata.version(name) for name in OURS},
    }
    if {"fastapi", "flask", "django"} & set(peers):
        listed = json.loads(_run(PYTHON, "-m", "pip", "list", "--format=json"))
        found["peers in Python"] = {
            each["name"]: each["version"] for each in listed if each["name"] in PYTHON_PEERS
        }
    if "fastify" in peers:
        packages = json.loads((PEERS / "fastify" / "package-lock.json").read_text())["packages"]
        of_packages = {name: packages[f"node_modules/{name}"]["version"] for name in NODE_PEERS}
        found["fastify"] = {"node": _run(NODE, "--version").strip().lstrip("v")} | of_packages
    return found


def _run(*command: str) -> str:
    # wrk exits with 1 when it is asked for its version
    return subprocess.run(command, capture_output=True, text=True).stdout  # noqa: S603
