"""Does it pay to commit together? Log-outs per second with 1, 8, 32 and 128 callers at once.

With one caller each log-out is a commit of its own; what more callers gain is the group commit: of
engines/sqlite_writer.py on SQLite, of the server itself on PostgreSQL. Run by `make group-commit`.
"""

import asyncio
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent))

from authapi.engines import schema
from authapi.engines.database import Database
from authapi.store import revocations as endings
from authapi.store.revocations import Ending
from tests.postgres import run_synced

END = 2_000_000_000, 2_000_000_000
CALLERS = (1, 8, 32, 128)
SECONDS = 2.0
ROUNDS = 3


async def rate(database: Database, callers: int, prefix: str) -> float:
    """Log-outs per second."""
    end = time.monotonic() + SECONDS

    async def log_out(caller: int) -> int:
        done = 0
        while time.monotonic() < end:
            sid = f"{prefix}-{caller}-{done}"
            await endings.end_session(database, Ending(sid, "logged_out", time.time(), *END))
            done += 1
        return done

    return sum(await asyncio.gather(*(log_out(caller) for caller in range(callers)))) / SECONDS


async def measure(url: str) -> list[list[float]]:
    """For each number of callers, the rates of the rounds, which take turns."""
    database = Database(url)
    await schema.upgrade(database)
    async with database:
        rounds = [
            [await rate(database, callers, f"{number}-{callers}") for callers in CALLERS]
            for number in range(ROUNDS)
        ]
    return [sorted(rates) for rates in zip(*rounds, strict=True)]


def print_row(engine: str, rates: list[list[float]]) -> None:
    alone = rates[0][ROUNDS // 2]
    cells = [f"{values[ROUNDS // 2]:,.0f} ({values[ROUNDS // 2] / alone:.1f})" for values in rates]
    print(f"| {engine} | {' | '.join(cells)} |")


def main() -> None:
    print(f"| log-outs a second (ratio) | {' | '.join(f'{n} at once' for n in CALLERS)} |")
    print(f"|---|{'---:|' * len(CALLERS)}")
    with TemporaryDirectory() as folder:
        print_row("SQLite", asyncio.run(measure(f"sqlite:///{folder}/auth.db")))
    with run_synced() as postgres:
        print_row("PostgreSQL", asyncio.run(measure(postgres.new_database())))


if __name__ == "__main__":
    main()
