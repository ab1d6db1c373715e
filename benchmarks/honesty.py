"""Before it is timed, each peer shows over HTTP that it does the work, and keeps its promises."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from minting import SECONDS, forge
from peer import Clients, Peer, Running
from service import SERVER_CORE, Void

from authapi.credentials.tokens import ACCESS, REFRESH

SHAPES = {
    "/secure-data": {"message", "user_id"},
    "/me": {"user_id", "name", "scopes", "created_at", "session_id", "token_expires_at"},
    "/login": {
        *("access_token", "refresh_token", "user_id", "token_type"),
        *("expires_in", "refresh_expires_in"),
    },
    "/logout": {"message"},
}
SHAPES["/refresh-token"] = SHAPES["/login"]


ADDRESS = "127.0.0.2"
"""From which it is asked here: failed logins are counted by address, and the load has another."""
MAX_FAILURES = 60
"""After which an address must be refused; ours is after 30."""


def check(server: Running) -> None:
    """Raises `Void` at the first answer that is not as it must be. `bare` has nothing to show."""
    if server.peer.is_bare:
        return
    with _examine(server) as examination:
        examination.tokens()
        examination.refreshes()
        examination.log_outs()
        if server.peer.promises:
            examination.heads()
            examination.repeats_and_reuse()
            examination.ends_of_sessions()
            examination.failures()


def check_durable(peer: Peer, folder: Path, clients: Clients) -> None:
    """Raises `Void` if what was answered is forgotten after `kill -9`."""
    with (
        peer.start(folder, clients, SERVER_CORE) as server,
        _examine(server) as examination,
    ):
        spent, ended = examination.spend(), examination.end()
        os.kill(server.service.pid, signal.SIGKILL)
    with (
        peer.start_again(folder, clients, SERVER_CORE) as server,
        _examine(server) as examination,
    ):
        examination.demand_refused(spent, ended)


@contextmanager
def _examine(server: Running) -> Iterator["_Examination"]:
    url = f"http://127.0.0.1:{server.service.port}"
    transport = httpx.HTTPTransport(local_address=ADDRESS, trust_env=False)
    with httpx.Client(base_url=url, transport=transport) as http:
        yield _Examination(server, http)


class _Examination:
    def __init__(self, server: Running, http: httpx.Client) -> None:
        self._server = server
        self._http = http
        self._caller = server.callers[7]

    def tokens(self) -> None:
        pair = self._log_in()
        mint, caller = self._server.peer.mint, self._caller
        for token in (pair["access_token"], mint(ACCESS, caller, 0)):
            self._open(token, 200, "a good token")
            self._open(forge(token), 401, "a forged token")
        self._open(mint(ACCESS, caller, SECONDS[ACCESS] + 60), 401, "an expired token")
        self._open(pair["refresh_token"], 401, "a refresh token as access token")
        wrong_key = caller.key[:-12] + "0" * 12
        self._post("/login", {"client_key": wrong_key}, 401, "a wrong key")

    def refreshes(self) -> None:
        """A spent token is tried after its successor is spent: until then a repeat may be fine."""
        minted = self._server.peer.mint(REFRESH, self._caller, 0)
        for spent in (self._log_in()["refresh_token"], minted):
            after = self._refresh(spent, 200, "a good refresh token")
            self._open(after["access_token"], 200, "a refreshed token")
            self._refresh(after["refresh_token"], 200, "a second refresh")
            if self._server.peer.rotates:
                self._refresh(spent, 401, "a spent refresh token")
            self._refresh(forge(spent), 401, "a forged refresh token")

    def log_outs(self) -> None:
        minted = self._server.peer.mint(ACCESS, self._caller, 0)
        for token in (self._log_in()["access_token"], minted):
            self._open(token, 200, "a token before its log-out")
            self._log_out(token, 200, "a log-out")
            self._open(token, 401, "a logged-out token")
        self._log_out(forge(minted), 401, "a forged log-out")

    def heads(self) -> None:
        """Each answer tells of its request, and no cache keeps it."""
        token = self._log_in()["access_token"]
        for path, sent, status in (("/me", token, 200), ("/secure-data", forge(token), 401)):
            headers = {"Authorization": f"Bearer {sent}", "X-Request-ID": "shown-by-caller"}
            answer = self._http.get(path, headers=headers)
            self._expect(answer, path, status, "a request with an id")
            told = [answer.headers.get(name) for name in ("x-request-id", "cache-control")]
            self._demand(told == ["shown-by-caller", "no-store"], f"its id, no-store: {told}")

    def repeats_and_reuse(self) -> None:
        """A repeat gets the successor that the first one got; what comes later ends the session."""
        spent = self._log_in()["refresh_token"]
        first = self._refresh(spent, 200, "a good refresh token")
        again = self._refresh(spent, 200, "a repeat within the grace")
        self._demand(first["refresh_token"] == again["refresh_token"], "one successor")
        last = self._refresh(first["refresh_token"], 200, "a second refresh")
        self._refresh(spent, 401, "a token that was used again")
        self._refresh(last["refresh_token"], 401, "a token of a session that reuse has ended")
        self._open(last["access_token"], 401, "a token of a session that reuse has ended")

    def ends_of_sessions(self) -> None:
        """A log-out by any access token of a session ends all of its tokens."""
        pair = self._log_in()
        after = self._refresh(pair["refresh_token"], 200, "a good refresh token")
        self._log_out(pair["access_token"], 200, "a log-out")
        for each in (pair, after):
            self._open(each["access_token"], 401, "a token of a session that is over")
        self._refresh(after["refresh_token"], 401, "a refresh token of a session that is over")

    def failures(self) -> None:
        """Who tries keys is refused after some, and then with a good one, too. It comes last."""
        wrong = {"client_key": self._caller.key[:-12] + "0" * 12}
        statuses = {self._http.post("/login", json=wrong).status_code for _ in range(MAX_FAILURES)}
        self._demand(statuses == {401, 429}, f"401 and then 429 for wrong keys: {statuses}")
        self._post("/login", {"client_key": self._caller.key}, 429, "a good key after wrong ones")

    def spend(self) -> str:
        """A refresh token that is spent, as its successor is."""
        spent = self._log_in()["refresh_token"]
        after = self._refresh(spent, 200, "a good refresh token")
        self._refresh(after["refresh_token"], 200, "a second refresh")
        return spent

    def end(self) -> str:
        """An access token whose session is over."""
        token = self._log_in()["access_token"]
        self._log_out(token, 200, "a log-out")
        return token

    def demand_refused(self, spent: str, ended: str) -> None:
        self._refresh(spent, 401, "a refresh token that was spent before a crash")
        self._open(ended, 401, "a token that was logged out before a crash")

    def _log_in(self) -> dict[str, str]:
        answer = self._post("/login", {"client_key": self._caller.key}, 200, "a good key")
        pair: dict[str, str] = answer.json()
        return pair

    def _refresh(self, token: str, status: int, what: str) -> dict[str, str]:
        answer = self._post("/refresh-token", {"refresh_token": token}, status, what)
        pair: dict[str, str] = answer.json()
        return pair

    def _log_out(self, token: str, status: int, what: str) -> None:
        answer = self._http.post("/logout", headers={"Authorization": f"Bearer {token}"})
        self._expect(answer, "/logout", status, what)

    def _post(self, path: str, body: dict[str, str], status: int, what: str) -> httpx.Response:
        return self._expect(self._http.post(path, json=body), path, status, what)

    def _open(self, token: str, status: int, what: str) -> None:
        for path in ("/secure-data", "/me"):
            answer = self._http.get(path, headers={"Authorization": f"Bearer {token}"})
            self._expect(answer, path, status, what)

    def _demand(self, holds: bool, what: str) -> None:
        if not holds:
            raise Void(f"{self._server.peer.name} does not promise {what}")

    def _expect(self, answer: httpx.Response, path: str, status: int, what: str) -> httpx.Response:
        name = self._server.peer.name
        if answer.status_code != status:
            raise Void(f"{name}, {path}: {answer.status_code} for {what}: {answer.text[:300]}")
        if status == 200:
            body = answer.json()
            if (
                body.keys() != SHAPES[path]
                or body.get("user_id", self._caller.id) != self._caller.id
            ):
                raise Void(f"{name}, {path}: not the shape of ours, or another's: {answer.text}")
        return answer
