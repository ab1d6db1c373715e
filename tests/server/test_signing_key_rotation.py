"""A signing key is rotated under load on two workers: no request is refused, no kid is unknown."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.checks import bearer
from tests.forge import claims_of, header_of
from tests.serving import Served, create_client, migrate, run, serve

MAX_AGE, SESSION_SECONDS = 3, 6
SPARE_SECONDS = 3
"""Before its end a session is left alone: so long may a busy machine take for a round."""
PAUSE_SECONDS = 0.3
"""Between two rounds of a caller, or else four of them keep a machine busy."""
CALLERS = 4
APART_SECONDS = 0.75
ENVIRON = {
    "SECRET_KEY": "s" * 32,
    "SIGNING_KEYS_FILE": "keys.json",
    "WORKERS": "2",
    "JWKS_MAX_AGE_SECONDS": str(MAX_AGE),
    "ACCESS_TOKEN_SECONDS": str(SESSION_SECONDS),
    "REFRESH_TOKEN_SECONDS": str(SESSION_SECONDS),
    "LEEWAY_SECONDS": "0",
}


def manage(folder: Path, *arguments: str) -> Any:
    done = run(folder, "manage.py", *arguments, "--json", **ENVIRON)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Verifier:
    """Another service: it asks for our keys when its copy is as old as it may be, not before."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._keys: dict[str, Any] = {}
        self._good_until = 0.0
        self.sets: list[frozenset[str]] = []

    async def verify(self, token: str) -> None:
        if time.monotonic() >= self._good_until:
            answer = await self._http.get("/.well-known/jwks.json")
            assert answer.status_code == 200, answer.text
            age = re.fullmatch(r"public, max-age=(\d+)", answer.headers["cache-control"])
            assert age is not None
            assert int(age[1]) <= MAX_AGE
            self._good_until = time.monotonic() + int(age[1])  # as long as it can be
            self._keys = {key["kid"]: jwt.PyJWK(key) for key in answer.json()["keys"]}
            self.sets.append(frozenset(self._keys))
        kid = header_of(token)["kid"]
        assert kid in self._keys, f"{kid} is not known"
        jwt.decode(token, self._keys[kid], algorithms=["ES256"], audience="auth-api")


class Load:
    """Callers that log in, use what they have, and refresh, until they are told to stop."""

    def __init__(self, served: Served, key: str) -> None:
        self._key = key
        # A connection for each request, so that each may meet either worker.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.AsyncClient(base_url=served.url, limits=limits, timeout=30)
        self.verifiers = [Verifier(self._http) for _ in range(CALLERS)]
        self.is_over = False
        self.used: list[tuple[float, str]] = []
        self.workers: set[str] = set()

    async def run(self) -> None:
        async with self._http, asyncio.TaskGroup() as group:
            for number, verifier in enumerate(self.verifiers):
                group.create_task(self._call(verifier, number * APART_SECONDS))

    async def _call(self, verifier: Verifier, after: float) -> None:
        await asyncio.sleep(after)  # so that at any time some session, and some set, is young
        while not self.is_over:
            first = pair = await self._post("/login", client_key=self._key)
            end = claims_of(pair["refresh_token"])["exp"]
            while time.time() < end - SPARE_SECONDS and not self.is_over:
                for token in (first["access_token"], pair["access_token"]):
                    await verifier.verify(token)
                    await self._use(token)
                pair = await self._post("/refresh-token", refresh_token=pair["refresh_token"])
                await asyncio.sleep(PAUSE_SECONDS)

    async def _use(self, token: str) -> None:
        self._judge(await self._http.get("/me", headers=bearer(token)))
        self.used.append((time.time(), header_of(token)["kid"]))

    async def _post(self, path: str, **body: str) -> dict[str, str]:
        answer: dict[str, str] = self._judge(await self._http.post(path, json=body))
        return answer

    def _judge(self, answer: httpx.Response) -> Any:
        assert answer.status_code == 200, answer.text
        self.workers.add(answer.headers["x-request-id"].partition("-")[0])
        return answer.json()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    manage(tmp_path, "new-signing-key")
    migrate(tmp_path, **ENVIRON)
    with serve(tmp_path, **ENVIRON) as served:
        yield served


def in_tokens(row: dict[str, Any], load: Load) -> dict[str, Any]:
    """With the `kid` of tokens, which names the database, too."""
    kids = {kid for _, kid in load.used if kid.partition(".")[0] == row["kid"]}
    return row | {"kid": kids.pop()}


def test_no_request_is_refused_and_no_kid_is_unknown(served: Served, tmp_path: Path) -> None:
    key = create_client(tmp_path, **ENVIRON)
    load = Load(served, key)

    async def rotate() -> dict[str, Any]:
        try:
            await asyncio.sleep(CALLERS * APART_SECONDS)
            await asyncio.to_thread(manage, tmp_path, "new-signing-key")
            rows: list[dict[str, Any]] = await asyncio.to_thread(
                manage, tmp_path, "list-signing-keys"
            )
            await asyncio.sleep(rows[0]["retires_at"] + MAX_AGE + 1 - time.time())
            return {"old": rows[0], "new": rows[1]}
        finally:
            load.is_over = True

    async def play() -> dict[str, Any]:
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run())
            rotation = group.create_task(rotate())
        return rotation.result()

    rotation = asyncio.run(play())
    old, new = (in_tokens(rotation[which], load) for which in ("old", "new"))
    assert len(load.workers) == 2
    # Everything happened that could: the old key verified beside the new one, and then was gone.
    switch = old["signs_until"]
    assert [used for used in load.used if used[1] == old["kid"] and used[0] > switch + 0.5]
    assert [used for used in load.used if used[1] == new["kid"]]
    for verifier in load.verifiers:
        both = frozenset({old["kid"], new["kid"]})
        stages = [{old["kid"]}, both, {new["kid"]}]
        assert list(dict.fromkeys(verifier.sets)) == list(map(frozenset, stages))
    assert "signing_keys_refused" not in served.console
    assert served.console.count("signing_keys_changed") == 2
