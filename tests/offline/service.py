"""The real service, which publishes its keys and answers verifiers, with the clients they need."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.serving import Served, create_client, request, run, serve

SCOPE = "revocations:read"
ENVIRON = {"SIGNING_KEYS_FILE": "signing-keys.json"}


@dataclass
class Service:
    """It is served, from a folder where its operator types commands."""

    served: Served
    folder: Path
    caller_key: str
    verifier_key: str

    @property
    def url(self) -> str:
        return self.served.url

    @property
    def options(self) -> dict[str, Any]:
        """For a verifier of it, whose clocks are those of the machine."""
        return {"url": self.url, "client_key": self.verifier_key, "began": 0}

    def manage(self, *command: str) -> str:
        done = run(self.folder, "manage.py", *command, **ENVIRON)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log_in(self) -> str:
        answer = request("POST", f"{self.url}/login", json={"client_key": self.caller_key})
        token: str = answer.json()["access_token"]
        return token

    def log_out(self, token: str, **options: bool) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(
            f"{self.url}/logout", headers=headers, json=options, timeout=10, verify=False
        )
        assert answer.status_code == 200, answer.text


@contextmanager
def serve_it(folder: Path) -> Iterator[Service]:
    assert run(folder, "manage.py", "new-signing-key", **ENVIRON).returncode == 0
    caller_key = create_client(folder, **ENVIRON)
    command = ("create-client", "verifier", "--scope", SCOPE, "--json")
    verifier_key = json.loads(run(folder, "manage.py", *command, **ENVIRON).stdout)["client_key"]
    with serve(folder, **ENVIRON) as served:
        yield Service(served, folder, caller_key, verifier_key)
