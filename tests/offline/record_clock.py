"""Records a feed of the service whose clock is ahead when it starts, and is set right then.

recorded-clock.json has beside each answer what is answered to who asks for all: with that a
verifier recovers. It is recorded by tests.offline.record.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from app import create_app
from settings import load_settings
from tests.offline.driving import ACCEPTED, REFUSED
from tests.offline.service import ENVIRON, SCOPE
from tests.serving import clean_environ, create_client, run

AHEAD_SECONDS = 3600.0
SECONDS = 20
Step = dict[str, Any]


@dataclass
class Clock:
    ahead: float = 0

    def __call__(self) -> float:
        return time.time() + self.ahead


def log_in(api: TestClient, key: str, scope: str = "") -> str:
    token: str = api.post("/login", json={"client_key": key, "scope": scope}).json()["access_token"]
    return token


def poll(api: TestClient, key: str, after: str = "") -> Any:
    headers = {"Authorization": f"Bearer {log_in(api, key, SCOPE)}"}
    answer = api.get("/revocations", params={"after": after} if after else {}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def step(api: TestClient, key: str, after: str, **verdicts: str) -> Step:
    """What is told past `after`, and to who holds nothing."""
    keys = api.get("/.well-known/jwks.json").json()
    whole = poll(api, key)
    return {
        "answer": poll(api, key, after) if after else whole,
        "whole": whole,
        "jwks": keys,
        "verdicts": verdicts,
    }


def wait_until_right(api: TestClient, key: str) -> None:
    """Until the service has met the clock that was set. Before, it refuses what it issues."""
    headers = {"Authorization": f"Bearer {log_in(api, key)}"}
    give_up = time.monotonic() + SECONDS
    while api.get("/me", headers=headers).status_code != 200:
        assert time.monotonic() < give_up
        time.sleep(0.05)


def record_clock(folder: Path) -> dict[str, Any]:
    assert run(folder, "manage.py", "new-signing-key", **ENVIRON).returncode == 0
    caller_key = create_client(folder, **ENVIRON)
    command = ("create-client", "verifier", "--scope", SCOPE, "--json")
    key = json.loads(run(folder, "manage.py", *command, **ENVIRON).stdout)["client_key"]
    file = folder / ENVIRON["SIGNING_KEYS_FILE"]
    places = {"DATABASE_URL": f"sqlite:///{folder}/auth.db", "SIGNING_KEYS_FILE": str(file)}
    settings, clock = load_settings(clean_environ() | places), Clock()
    with TestClient(create_app(settings, clock)) as api:
        tokens = {name: log_in(api, caller_key) for name in ("alive", "logged_out")}
        steps = [step(api, key, "", alive=ACCEPTED, logged_out=ACCEPTED)]
        headers = {"Authorization": f"Bearer {tokens['logged_out']}"}
        assert api.post("/logout", headers=headers).status_code == 200
        after = steps[-1]["answer"]["cursor"]
        steps.append(step(api, key, after, alive=ACCEPTED, logged_out=REFUSED))
    clock.ahead = AHEAD_SECONDS
    with TestClient(create_app(settings, clock)) as api:
        after = steps[-1]["answer"]["cursor"]
        steps.append(step(api, key, after, alive=REFUSED, logged_out=REFUSED))
        clock.ahead = 0
        wait_until_right(api, caller_key)
        after = steps[-1]["answer"]["cursor"]
        steps.append(step(api, key, after, alive=ACCEPTED, logged_out=REFUSED))
    return {"now": int(time.time()), "tokens": tokens, "steps": steps}
