"""Puts load on a server with wrk, as fast as the answers come."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from service import LOAD_CORE, Service, Stalled, Void

CONNECTIONS = 32


@dataclass(frozen=True)
class Call:
    """What is asked. Each request carries a line of a file: as bearer, or in a field of JSON."""

    method: str
    path: str
    field: str = "bearer"


SECURE_DATA = Call("GET", "/secure-data")
ME = Call("GET", "/me")
LOGIN = Call("POST", "/login", "client_key")
REFRESH = Call("POST", "/refresh-token", "refresh_token")
LOGOUT = Call("POST", "/logout")


def demand() -> None:
    """Exit, and say how to get them, if the programs that measure are missing."""
    missing = [program for program in ("wrk", "taskset") if shutil.which(program) is None]
    if missing:
        print(f"{' and '.join(missing)} not found: apt install wrk util-linux", file=sys.stderr)
        sys.exit(2)


def send(
    service: Service,
    call: Call,
    lines: Path,
    seconds: float,
    *,
    status: int = 200,
    answers: int | None = None,
    connections: int = CONNECTIONS,
) -> dict[str, float]:
    """Send the `lines` in turn, for so many whole `seconds` or until there are so many `answers`.

    Raises `Void` if any answer has another `status`, and `Stalled` if one took wrk's 2 seconds.
    """
    command = [
        "taskset",
        "-c",
        LOAD_CORE,
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{math.ceil(seconds)}s",
    ]
    script = ["-s", str(Path(__file__).with_name("wrk.lua"))]
    url = f"http://127.0.0.1:{service.port}{call.path}"
    arguments = ["--", call.method, call.field, str(lines), str(status)]
    arguments += [str(answers)] if answers else []
    before = service.cpu_seconds()
    result = subprocess.run(  # noqa: S603
        [*command, *script, url, *arguments], capture_output=True, text=True, check=True
    )
    cpu = service.cpu_seconds() - before
    report: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    bad = {kind: report[kind] for kind in ("wrong", "faults", "timeouts") if report[kind]}
    if bad.keys() - {"timeouts"}:
        raise Void(f"{call.path}: {bad} in {report['answers']} answers")
    if bad or not report["answers"]:
        raise Stalled(f"{call.path}: {bad} in {report['answers']} answers")
    return report | {
        "rate": report["answers"] / report["seconds"],
        "cpu_us": cpu / report["answers"] * 1e6,
    }
