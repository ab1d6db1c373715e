"""What a verifier elsewhere costs: its checks, and its first load of many entries."""

import gzip
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import scale_rows as rows
from auth_api_verifier import Verifier

from tests.faults.client import Client, Recorder
from tests.faults.elsewhere import SCOPE, wait_until_accepted
from tests.faults.services import Service

ENTRIES = 50_000
CHECKS = 100_000
TOKENS = 300

Report = dict[str, Any]


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
