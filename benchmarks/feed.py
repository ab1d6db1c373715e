"""What does it cost that log-outs are known elsewhere, and how soon are they?

On one worker, two workers and two nodes: from the answer of a log-out until a verifier elsewhere
refuses the token. Of one worker: its CPU while so many polls are held, idle and at 50 log-outs a
second; and the first load of 50,000 entries. Of a verifier: the price of a check. Server, pollers
and verifier share the machine. Run by `make feed`.
"""

# ruff: noqa: S101, S311, a measurement that shows nothing is void, and nothing here is secret

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(1, str(Path(__file__).parent.parent / "verifiers" / "python"))

from auth_api_verifier import Refused, Verifier
from feed_cost import measure_cpu
from feed_report import show
from feed_verifier import ENTRIES, fill, measure_checks, measure_first_load
from progress import say

from tests.faults.client import Client, Node, Recorder, Session
from tests.faults.elsewhere import SCOPE, wait_until_accepted
from tests.faults.services import Service, manage, serve_file, serve_nodes
from tests.postgres import run_synced
from tests.serving import migrate, run

RESULTS = Path(__file__).parent / "results"
LANES = 4
"""So many callers log out beside each other."""
LOOK_SECONDS = 0.001

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


def measure(folder: Path, log_outs: int) -> Report:
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
        for held in (100, 300, 1000):
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
    options = parser.parse_args()
    with TemporaryDirectory(prefix="feed-") as name:
        found = measure(Path(name), options.log_outs)
    text = show(found)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "feed.json").write_text(json.dumps(found) + "\n")
    (RESULTS / "feed.md").write_text(text)


if __name__ == "__main__":
    main()
