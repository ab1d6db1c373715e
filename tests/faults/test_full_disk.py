"""On a full disk what cannot be written is said once, and it is not ready until it can be."""

import re
import time
from pathlib import Path

import httpx

from tests.checks import bearer
from tests.conftest import SECRET
from tests.disks import fill
from tests.serving import create_client, serve, watched

WAIT_SECONDS = 20


def test_log_outs_that_cannot_be_written_are_told_once_and_so_is_their_end(
    tmp_path: Path, small_disk: Path
) -> None:
    environ = {"SECRET_KEY": SECRET, "DATABASE_URL": f"sqlite:///{small_disk}/auth.db"} | watched()
    key = create_client(tmp_path, **environ)
    with serve(tmp_path, **environ) as served, httpx.Client(base_url=served.url) as api:
        pair = api.post("/login", json={"client_key": key}).json()
        headers = bearer(pair["access_token"])
        filler = fill(small_disk)
        for _ in range(20):
            assert api.post("/logout", headers=headers).status_code == 503
            assert api.get("/secure-data", headers=headers).status_code == 200
            assert api.get("/readyz").status_code == 503
            assert api.get("/healthz").status_code == 200
        filler.unlink()
        give_up = time.monotonic() + WAIT_SECONDS
        while api.post("/logout", headers=headers).status_code != 200:
            assert time.monotonic() < give_up
        assert '"event":"database_writable"' in served.console  # though nobody asked /readyz
        assert api.get("/readyz").status_code == 200
        assert api.get("/secure-data", headers=headers).status_code == 401
        told = re.findall(r'"event":"(database_\w+)"', served.console)
        assert told == ["database_unwritable", "database_writable"]
        assert '"reason":"database or disk is full"' in served.console
