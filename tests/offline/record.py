"""Records a feed of the real service: python -m tests.offline.record, when what it answers changes.

recorded.json holds each answer as it came, with the public keys of then, and which of the tokens
are good by all that was told up to there.
"""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from tests.forge import claims_of, header_of
from tests.offline.driving import ACCEPTED, REFUSED
from tests.offline.record_clock import record_clock
from tests.offline.service import Service, serve_it
from tests.serving import register

FILE = Path(__file__).parent / "recorded.json"
CLOCK_FILE = Path(__file__).parent / "recorded-clock.json"
SECONDS = 20


class Recorder:
    """Follows the feed, and notes a step whenever something was ended."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.tokens: dict[str, str] = {}
        self.steps: list[dict[str, Any]] = []

    def log_in(self, name: str, client_key: str) -> None:
        self.tokens[name] = self._new_token(client_key)

    def _new_token(self, client_key: str) -> str:
        answer = httpx.post(f"{self._service.url}/login", json={"client_key": client_key})
        token: str = answer.json()["access_token"]
        return token

    def note(self, **ended: bool) -> None:
        """The next answer that tells something, and which of the tokens it has `ended`."""
        nothing: dict[str, Any] = {"answer": {"keys": [], "cursor": ""}}
        before = self.steps[-1] if self.steps else nothing
        give_up = time.monotonic() + SECONDS
        answer = self._poll(before["answer"]["cursor"])
        while not answer["revoked"] and answer["keys"] == before["answer"]["keys"]:
            assert time.monotonic() < give_up
            answer = self._poll(answer["cursor"])
        verdicts = before.get("verdicts", {}) | {
            name: REFUSED if ended.get(name) else ACCEPTED
            for name in self.tokens
            if before.get("verdicts", {}).get(name) != REFUSED
        }
        keys = httpx.get(f"{self._service.url}/.well-known/jwks.json").json()
        self.steps.append({"answer": answer, "jwks": keys, "verdicts": verdicts})

    def _poll(self, cursor: str) -> Any:
        query = {"after": cursor, "wait": "1"} if cursor else {}
        # A new one each time, since the signing key of the last may have been retired.
        headers = {"Authorization": f"Bearer {self._new_token(self._service.verifier_key)}"}
        url = f"{self._service.url}/revocations"
        answer = httpx.get(url, params=query, headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()


def record(service: Service) -> Recorder:
    recorder = Recorder(service)
    database_url = f"sqlite:///{service.folder}/auth.db"
    one, all_, key = register(database_url, "of-one", "of-all", "of-a-key")
    names = {"logged_out": one, "alive": one, "of_all": all_, "of_all_too": all_, "of_key": key}
    for name, client_key in names.items():
        recorder.log_in(name, client_key)
    recorder.note()
    service.log_out(recorder.tokens["logged_out"])
    recorder.note(logged_out=True)
    service.log_out(recorder.tokens["of_all"], everywhere=True)
    recorder.log_in("later", all_)
    recorder.note(of_all=True, of_all_too=True)
    service.manage("revoke-key", str(claims_of(recorder.tokens["of_key"])["key_id"]), "--yes")
    recorder.note(of_key=True)
    service.manage("new-signing-key", "--now")
    recorder.note()
    kid = header_of(recorder.tokens["alive"])["kid"].partition(".")[0]
    recorder.log_in("of_new_signing_key", one)
    assert header_of(recorder.tokens["of_new_signing_key"])["kid"].partition(".")[0] != kid
    service.manage("retire-signing-key", kid, "--yes")
    recorder.note(alive=True, later=True)
    return recorder


def main() -> None:
    with TemporaryDirectory() as folder, serve_it(Path(folder)) as service:
        recorder = record(service)
    content = {"now": int(time.time()), "tokens": recorder.tokens, "steps": recorder.steps}
    FILE.write_text(json.dumps(content, indent=2) + "\n")
    with TemporaryDirectory() as folder:
        CLOCK_FILE.write_text(json.dumps(record_clock(Path(folder)), indent=2) + "\n")


if __name__ == "__main__":
    main()
