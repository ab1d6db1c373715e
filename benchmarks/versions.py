"""What was measured: the versions of everything that takes part."""

import json
import subprocess
from pathlib import Path

import interpreter
import service
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
        "machine": {"processor": _processor(), "wrk": _run("wrk", "-v").split()[1]},
        "ours and bare": _of_python(service.PYTHON, OURS),
    }
    if {"fastapi", "flask", "django"} & set(peers):
        found["peers in Python"] = _of_python(PYTHON, PYTHON_PEERS)
    if {"fastify", "promises", "batched", "tuned"} & set(peers):
        packages = json.loads((PEERS / "fastify" / "package-lock.json").read_text())["packages"]
        of_packages = {name: packages[f"node_modules/{name}"]["version"] for name in NODE_PEERS}
        node = _run(NODE, "--version").strip().lstrip("v")
        found["Fastify"] = {"node": f"{node}, a release build"} | of_packages
    if "go" in peers:
        found["Go"] = {"go": _run("go", "version").split()[2].removeprefix("go")}
    return found


def _of_python(python: str, packages: tuple[str, ...]) -> dict[str, str]:
    listed = json.loads(_run(python, "-m", "pip", "list", "--format=json"))
    versions = {each["name"]: each["version"] for each in listed if each["name"] in packages}
    return {"python": interpreter.describe_other(python)} | versions


def _processor() -> str:
    told = Path("/proc/cpuinfo").read_text()
    names = (line.partition(":")[2].strip() for line in told.splitlines() if "model name" in line)
    return next(names, "unknown")


def _run(*command: str) -> str:
    # wrk exits with 1 when it is asked for its version
    return subprocess.run(command, capture_output=True, text=True).stdout  # noqa: S603
