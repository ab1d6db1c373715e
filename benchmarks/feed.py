"""What does it cost that log-outs are known elsewhere, and how soon are they?

On one worker, two workers and two nodes: from the answer of a log-out until a verifier elsewhere
refuses the token. Of one worker: its CPU while so many polls are held, idle and at 50 log-outs a
second; and the first load of 50,000 entries. Of a verifier: the price of a check. Server, pollers
and verifier share the machine. Run by `make feed`.
"""

# ruff: noqa: S101, S311, a measurement that shows nothing is void, and nothing here is secret

import argparse
import asyncio
import gzip
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(1, str(Path(__file__).parent.parent / "verifiers" / "python"))

import httpx
import psutil
import scale_rows as rows
from auth_api_verifier import Refused, Verifier
from progress import say
from report import table

from tests.faults.client import Client, Node, Recorder, Session
from tests.faults.elsewhere import SCOPE, wait_until_accepted
from tests.faults.history import UNANSWERED
from tests.faults.loads import going_on
from tests.faults.services import Service, manage, serve_file, serve_nodes
from tests.postgres import run_synced
from tests.serving import migrate, run

RESULTS = Path(__file__).parent / "results"
LANES = 4
"""So many callers log out beside each other."""
LOOK_SECONDS = 0.001
CPU_SECONDS = 8
LOG_OUTS_A_SECOND = 50
WAIT_SECONDS = 0.75
"""Half of the lease, as a verifier waits."""
ENTRIES = 50_000
CHECKS = 100_000
TOKENS = 300

Report = dict[str, Any]


def make_keys(folder: Path) -> dict[str, str]:
    """Returns the setting that names them."""
    environ = {"SIGNING_KEYS_FILE": str(folder / "keys.json")}
    assert run(folder, "manage.py", "new-signing-key", **environ).returncode == 0
    return environ


@contextmanager
def serving(folder: Path, setup: str) -> Iterator[tuple[Service, str]]:
    """The service, and the key of a client that may read the feed."""
    environ = make_keys(folder)
    with ExitStack() as stack:
        if setup == "two nodes":
            urls = [stack.enter_context(run_synced()).new_database()] * 2
            served = serve_nodes(folder, urls, **environ)
        else:
            workers = "2" if setup == "two workers" else "1"
            served = serve_file(folder / "auth.db", folder, WORKERS=workers, **environ)
        service = stack.enter_context(served)
        made = asyncio.run(manage(service, "create-client", "verifier", "--scope", SCOPE))
        yield service, made["client_key"]


async def refused_at(verifier: Verifier, session: Session) -> float:
    while True:
        try:
            verifier.judge(session.access)
        except Refused:
            return time.monotonic()
        await asyncio.sleep(LOOK_SECONDS)


async def measure_latency(service: Service, key: str, client: Client, count: int) -> list[float]:
    """Milliseconds from each answer to the refusal, sorted; below zero where that came first."""
    found: list[float] = []

    async def lane(verifier: Verifier, nodes: list[Node]) -> None:
        for _ in range(count // LANES):
            session = await recorder.begin(random.choice(nodes), client)
            await wait_until_accepted(verifier, session)
            await asyncio.sleep(random.uniform(0, 0.2))  # in step with no poll
            refusal = asyncio.create_task(refused_at(verifier, session))
            assert await recorder.logout(random.choice(nodes), session) == 200
            answered = time.monotonic()
            found.append(round(1000 * (await refusal - answered), 1))

    recorder = Recorder()
    async with recorder, Verifier(service.servers[0].url, key) as verifier:
        nodes = service.nodes()
        await asyncio.gather(*(lane(verifier, nodes) for _ in range(LANES)))
    return sorted(found)


class Pollers:
    """Each asks again when it is answered, as a verifier does, and counts the answers."""

    def __init__(self, service: Service, key: str) -> None:
        self._node = Node("feed", service.servers[0].url)
        self._key = key
        self.statuses: dict[int, int] = {}

    async def poll(self, token: str) -> None:
        head = f"Host: test\r\nAuthorization: Bearer {token}\r\n\r\n"
        after = ""
        connection = None
        while True:
            wait = WAIT_SECONDS * random.uniform(0.8, 1)
            query = f"?after={after}&wait={wait:.3f}" if after else ""
            asked = f"GET /revocations{query} HTTP/1.1\r\n{head}"
            try:
                connection = connection or await self._node.connect()
                status, _, body = await connection.ask(asked.encode())
            except (OSError, EOFError):  # the worker has closed what is beyond its connections
                status, body, connection = UNANSWERED, {}, None
            self.statuses[status] = self.statuses.get(status, 0) + 1
            after = body["cursor"] if status == 200 else after
            await asyncio.sleep(0.02)

    async def log_in(self) -> str:
        shown = {"client_key": self._key, "scope": SCOPE}
        token: str = (await self._node.ask("POST", "/login", payload=shown))[2]["access_token"]
        return token

    async def close(self) -> None:
        await self._node.close()


async def log_out_steadily(recorder: Recorder, node: Node, sessions: list[Session]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for session in sessions:
            tasks.create_task(recorder.logout(node, session))
            await asyncio.sleep(1 / LOG_OUTS_A_SECOND)


async def measure_cpu(service: Service, key: str, client: Client, held: int) -> Report:
    """Shares of a core, idle and at so many log-outs a second; and the memory."""
    process, pollers = psutil.Process(service.servers[0].process.pid), Pollers(service, key)
    found: Report = {"held": held}
    async with Recorder() as recorder:
        (node,) = service.nodes()
        count = LOG_OUTS_A_SECOND * CPU_SECONDS
        sessions = [await recorder.begin(node, client) for _ in range(count)]
        token = await pollers.log_in()
        async with going_on(pollers.poll(token) for _ in range(held)):
            await asyncio.sleep(2)  # until each is held
            for name, work in (
                ("idle", asyncio.sleep(CPU_SECONDS)),
                ("log_outs", log_out_steadily(recorder, node, sessions)),
            ):
                pollers.statuses.clear()
                before, began = sum(process.cpu_times()[:2]), time.monotonic()
                await work
                seconds = time.monotonic() - began
                share = (sum(process.cpu_times()[:2]) - before) / seconds
                answers = {str(status): n for status, n in pollers.statuses.items()}
                found[name] = {
                    "core": share,
                    "answers_a_second": sum(pollers.statuses.values()) / seconds,
                    "statuses": answers,
                }
            found["rss_mb"] = process.memory_info().rss / 1e6
        await pollers.close()
    return found


async def measure_checks(service: Service, key: str, client: Client) -> Report:
    """Microseconds of `judge`: of a token that verified before, and of one never seen."""
    async with Recorder() as recorder, Verifier(service.servers[0].url, key) as verifier:
        (node,) = service.nodes()
        sessions = [await recorder.begin(node, client) for _ in range(TOKENS)]
        await wait_until_accepted(verifier, sessions[0])
        began = time.process_time()
        for session in sessions[1:]:
            verifier.judge(session.access)
        new = (time.process_time() - began) / (TOKENS - 1)
        await wait_until_accepted(verifier, sessions[0])
        token, began = sessions[0].access, time.process_time()
        for _ in range(CHECKS):
            verifier.judge(token)
        return {"new_us": 1e6 * new, "remembered_us": 1e6 * (time.process_time() - began) / CHECKS}


async def measure_first_load(service: Service, key: str, client: Client) -> Report:
    """Of all entries at once, as one download and as a verifier that starts."""
    url, process = service.servers[0].url, psutil.Process(service.servers[0].process.pid)
    rss_mb = process.memory_info().rss / 1e6
    async with Recorder() as recorder:
        session = await recorder.begin(service.nodes()[0], client)
        began = time.monotonic()
        async with Verifier(url, key) as verifier:
            await wait_until_accepted(verifier, session)
            fresh_after = time.monotonic() - began
            entries = verifier.status()["entries"]
    async with httpx.AsyncClient(base_url=url) as http:
        shown = {"client_key": key, "scope": SCOPE}
        token = (await http.post("/login", json=shown)).json()["access_token"]
        began = time.monotonic()
        answer = await http.get("/revocations", headers={"Authorization": f"Bearer {token}"})
        seconds = time.monotonic() - began
    return {
        "entries": entries,
        "bytes": len(answer.content),
        "gzip_bytes": len(gzip.compress(answer.content)),
        "seconds": seconds,
        "fresh_after_seconds": fresh_after,
        "server_rss_mb": rss_mb,
    }


def fill(file: Path) -> None:
    """With sessions that ended in the last minutes."""
    rows.fill_sqlite(file, "revoked_jtis", rows.VARIANTS["burst"](ENTRIES, time.time()))


def percentile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def show(found: Report) -> str:
    """As Markdown."""
    latencies = []
    for setup, values in found["latency_ms"].items():
        milliseconds = [statistics.median(values), percentile(values, 0.99), values[-1]]
        late = sum(value > 0 for value in values)
        cells = [f"{each:.0f} ms" for each in milliseconds]
        latencies.append([setup, *cells, f"{late} of {len(values)}"])
    costs = [
        [
            f"{row['held']:,}",
            *(f"{row[name]['core']:.0%} of a core" for name in ("idle", "log_outs")),
            f"{row['rss_mb']:.0f} MB",
        ]
        for row in found["cpu"]
    ]
    load, checks = found["first_load"], found["check"]
    facts = {
        "a check of a token that verified before": f"{checks['remembered_us']:.1f} us",
        "a check of a token never seen": f"{checks['new_us']:.0f} us",
        f"first load of {load['entries']:,} entries": f"{load['bytes'] / 1e6:.1f} MB",
        "the same with gzip": f"{load['gzip_bytes'] / 1e6:.1f} MB",
        "the download": f"{load['seconds']:.2f} s",
        "a verifier from its start until it accepts": f"{load['fresh_after_seconds']:.2f} s",
        "memory of the worker with them": f"{load['server_rss_mb']:.0f} MB",
    }
    latency_head = ["answered log-out to refusal elsewhere", "p50", "p99", "at most"]
    cost_head = ["polls held by one worker", "idle", "50 log-outs a second", "memory"]
    tables = [
        table([*latency_head, "after the answer"], latencies),
        table(cost_head, costs),
        table(["of the verifier in Python", ""], [[*fact] for fact in facts.items()]),
    ]
    noise = f"{found['cores']} cores, load average {found['load_before']} to {found['load_after']}"
    measured = f"Measured on {found['date']}: {noise}, server and load together."
    return "\n\n".join([*tables, measured]) + "\n"


def measure(folder: Path, log_outs: int, is_all: bool) -> Report:
    found: Report = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "latency_ms": {},
        "cpu": [],
    }
    for setup in ("one worker", "two workers", "two nodes"):
        say(f"{log_outs} log-outs on {setup}")
        place = folder / setup.replace(" ", "-")
        place.mkdir()
        with serving(place, setup) as (service, key):
            (client,) = service.register("leaving")
            latency = asyncio.run(measure_latency(service, key, client, log_outs))
            found["latency_ms"][setup] = latency
    place = folder / "cost"
    place.mkdir()
    with serving(place, "one worker") as (service, key):
        (client,) = service.register("busy")
        for held in (100, 300, 1000) if is_all else (100, 300):
            say(f"{held} held polls")
            found["cpu"].append(asyncio.run(measure_cpu(service, key, client, held)))
        say("checks")
        found["check"] = asyncio.run(measure_checks(service, key, client))
    say(f"{ENTRIES} entries")
    place = folder / "load"
    place.mkdir()
    environ = make_keys(place) | {"WORKERS": "1"}
    migrate(place)
    fill(place / "auth.db")
    with serve_file(place / "auth.db", place, **environ) as service:
        (client,) = service.register("late")
        made = asyncio.run(manage(service, "create-client", "late-verifier", "--scope", SCOPE))
        loaded = asyncio.run(measure_first_load(service, made["client_key"], client))
        found["first_load"] = loaded
    found["load_after"] = round(os.getloadavg()[0], 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log-outs", type=int, default=200)
    parser.add_argument("--all", action="store_true", help="hold 1,000 polls, too")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="feed-") as name:
        found = measure(Path(name), options.log_outs, options.all)
    text = show(found)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "feed.json").write_text(json.dumps(found) + "\n")
    (RESULTS / "feed.md").write_text(text)


if __name__ == "__main__":
    main()
