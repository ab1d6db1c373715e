"""Keeps a client key in a file fresh. Run it once a day, by cron or a timer of systemd:

    URL=https://auth.example python fresh_key.py billing.key

It needs httpx, and the client the scope `keys:self`. Programs read the file whenever they log in.
Each run makes the next key, and ends the one before the last, which nobody uses any more. Where a
run breaks off, the next one goes on.
"""

import os
import sys
from pathlib import Path
from typing import Any

import httpx


def ask(method: str, path: str, token: str = "", **body: str) -> Any:
    """Raises `httpx.HTTPError` unless the answer is 200."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = os.environ["URL"] + path
    answer = httpx.request(method, url, headers=headers, json=body or None, timeout=10)
    return answer.raise_for_status().json()


def write(file: Path, key: str) -> None:
    """Whole or not at all, for the owner alone; on the disk, too, since it is shown this once."""
    beside = file.with_suffix(".new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as new:
        new.write(key)
        new.flush()
        os.fsync(new.fileno())
    beside.replace(file)


def refresh(file: Path) -> None:
    """The key in the file stays open until the next run, and so does a session that it began."""
    key = file.read_text().strip()
    token = ask("POST", "/login", client_key=key, scope="keys:self")["access_token"]
    (current,) = (each for each in ask("GET", "/me/keys", token)["keys"] if each["current"])
    if current["made_by"]:
        ask("DELETE", f"/me/keys/{current['made_by']}", token)
    write(file, ask("POST", "/me/keys/rotate", token, client_key=key)["client_key"])
    ask("POST", "/logout", token)


if __name__ == "__main__":
    refresh(Path(sys.argv[1]))
