"""Does the time of a refused login tell why it was refused? Welch's t-test, as dudect does it.

A key that was never issued, and those of a disabled client, an expired and a revoked one, must take
the same time: |t| < 4.5 for every two of them. The calls go straight into the application, with no
socket in between, where a difference shows best. Run by `make timing`.
"""

import asyncio
import gc
import itertools
import math
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import orjson
import sqlalchemy as sa

from app import create_app
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.engines import schema
from authapi.engines.database import Database
from authapi.store import clients as registry
from settings import load_settings
from tables import client_keys

SAMPLES = 13_000
"""Of each kind."""
KEPT = 0.85
"""The share of the samples below one cut for all; past it are the pauses of the machine."""
KEYS = 200
"""Of each kind, so that no row's place in the database speaks for its kind."""
LIMIT = 4.5
UNLIMITED = "1000000000/second"
ISSUED = ("disabled", "expired", "revoked")
SAME = ("unknown", *ISSUED)
MALFORMED = "malformed"


@dataclass
class Kind:
    keys: list[str]
    times: list[int] = field(default_factory=list)


async def register(database: Database, kind: str, number: int) -> str:
    """A key that once opened, and does no more."""
    client_id, key = new_client_id(), new_client_key()
    now = int(time.time())
    name = f"{number}-{new_client_id()}"
    await registry.create_client(database, client_id, name, key, now)
    if kind == "disabled":
        await registry.disable_client(database, client_id, now)
    else:
        column = {"expired": "expires_at", "revoked": "revoked_at"}[kind]
        update = sa.update(client_keys).where(client_keys.c.id == key.id)
        await database.fetch_one(update.values({column: now - 1}).returning(client_keys.c.id))
    return key.text


async def prepare(database: Database) -> dict[str, Kind]:
    await schema.upgrade(database)
    kinds = {name: Kind([]) for name in (*SAME, MALFORMED)}
    async with database:
        for number in range(KEYS):
            for name in ISSUED:
                kinds[name].keys.append(await register(database, name, number))
            kinds["unknown"].keys.append(new_client_key().text)
            text = new_client_key().text
            kinds[MALFORMED].keys.append(text[:-1] + ("0" if text[-1] != "0" else "1"))
    return kinds


async def refuse(app: Any, state: dict[str, Any], body: bytes) -> int:
    """Nanoseconds of one refused login."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/login",
        "raw_path": b"/login",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 40_000),
        "server": ("127.0.0.1", 8_000),
        "state": state.copy(),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    begin = time.perf_counter_ns()
    await app(scope, receive, send)
    nanoseconds = time.perf_counter_ns() - begin
    if sent[0]["status"] != 401:
        raise ValueError(sent)
    return nanoseconds


async def measure(folder: str) -> dict[str, Kind]:
    """The kinds take turns, in a new order each time, so that no drift is one's alone."""
    settings = load_settings(
        {
            "SECRET_KEY": "s" * 32,
            "DATABASE_URL": f"sqlite:///{folder}/auth.db",
            "LOGIN_FAILURES_BY_ADDRESS": UNLIMITED,
            "LOGIN_FAILURES_TOGETHER": UNLIMITED,
            "REVOCATION_POLL_SECONDS": "60",
        }
    )
    kinds = await prepare(Database(settings.database_url))
    app = create_app(settings)
    order = list(kinds.values())
    async with app.router.lifespan_context(app) as state:
        gc.disable()
        for number in range(-500, SAMPLES):  # the first ones warm up
            random.shuffle(order)
            for kind in order:
                body = orjson.dumps({"client_key": random.choice(kind.keys)})  # noqa: S311
                nanoseconds = await refuse(app, dict(state or {}), body)
                if number >= 0:
                    kind.times.append(nanoseconds)
            if number % 1000 == 0:
                gc.collect()
    return kinds


def trim(kinds: dict[str, Kind]) -> None:
    """One cut for all of them: a cut of its own would hide what makes a kind slow."""
    pooled = sorted(itertools.chain.from_iterable(kinds[name].times for name in SAME))
    cut = pooled[int(len(pooled) * KEPT)]
    for kind in kinds.values():
        kind.times = [nanoseconds for nanoseconds in kind.times if nanoseconds <= cut]


def welch(ones: list[int], others: list[int]) -> float:
    """The t of Welch's test, for two samples whose variances may differ."""
    spread = sum(statistics.variance(times) / len(times) for times in (ones, others))
    return (statistics.fmean(ones) - statistics.fmean(others)) / math.sqrt(spread)


def print_rows(kinds: dict[str, Kind], pairs: list[tuple[str, str]], is_known: bool) -> bool:
    """Tells whether all of them are equal."""
    are_equal = True
    for one, other in pairs:
        t = welch(kinds[one].times, kinds[other].times)
        is_equal = abs(t) < LIMIT
        are_equal &= is_equal
        numbers = " / ".join(f"{len(kinds[name].times):,}" for name in (one, other))
        means = " / ".join(
            f"{statistics.fmean(kinds[name].times) / 1000:.2f}" for name in (one, other)
        )
        verdict = "equal" if is_equal else "known and harmless" if is_known else "DIFFERENT"
        print(f"| {one} / {other} | {numbers} | {means} | {t:+.2f} | {verdict} |")
    return are_equal


def main() -> None:
    with TemporaryDirectory() as folder:
        kinds = asyncio.run(measure(folder))
    trim(kinds)
    print("| keys | samples | mean, microseconds | t | |")
    print("|---|---:|---:|---:|---|")
    are_equal = print_rows(kinds, list(itertools.combinations(SAME, 2)), is_known=False)
    print_rows(kinds, [(MALFORMED, "unknown")], is_known=True)
    print(
        "\nA malformed key is refused at its checksum with no question to the database. The "
        "checksum\nholds no secret: anybody can compute it, and learns nothing new."
    )
    sys.exit(not are_equal)


if __name__ == "__main__":
    main()
