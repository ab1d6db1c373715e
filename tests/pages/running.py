"""Runs what the pages show, as whoever reads them would."""

import re
import subprocess
from pathlib import Path

import httpx

from tests.serving import Served, clean_environ

SECRET = {"SECRET_KEY": "s" * 32}
SIGNING_KEYS = {"SIGNING_KEYS_FILE": "signing-keys.json"}
RUN_SECONDS = 60


def run(folder: Path, script: str, **environ: str) -> str:
    """What it prints. Each of its commands has to succeed."""
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=clean_environ() | environ,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def key_in(printed: str) -> str:
    """The client key that is shown, on a line of its own."""
    (key,) = re.findall(r"^ck_\w+$", printed, re.MULTILINE)
    return str(key)


def until_it_serves(script: str) -> str:
    """All but the last command, which does not end."""
    *commands, last = script.splitlines()
    assert last == ".venv/bin/python app.py"
    return "\n".join(commands)


def call(served: Served, path: str, token: str = "", **body: str) -> httpx.Response:
    method = "POST" if body or path == "/logout" else "GET"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.request(
        method, served.url + path, headers=headers, json=body or None, verify=False
    )


def log_in(served: Served, key: str) -> dict[str, str]:
    answer = call(served, "/login", client_key=key)
    assert answer.status_code == 200, answer.text
    pair: dict[str, str] = answer.json()
    return pair
