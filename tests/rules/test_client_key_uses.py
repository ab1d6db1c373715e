"""When and how often a key was used is known within a minute, without a write at each login."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.sql import ClauseElement
from starlette.testclient import TestClient

from app import create_app
from authapi.engines import schema
from authapi.engines.database import Database, Row
from authapi.errors import TemporarilyUnavailable
from authapi.rules.client_key_uses import ClientKeyUses
from authapi.server.background import repeat
from authapi.store import client_keys as key_registry
from settings import Settings
from tests.checks import assert_answer
from tests.conftest import ENGINES, NOW, Clock, Register, Registered, url_for_settings
from tests.faults.services import serve_file
from tests.inline import Client
from tests.revisions import UNDO
from tests.steps import refresh

Login = Callable[[], dict[str, str]]
AT = int(NOW)


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, database_file: Path) -> str:
    return url_for_settings(request, request.param, database_file)


def on(url: str, action: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
    async def connected() -> Any:
        async with Database(url) as database:
            return await action(database)

    return asyncio.run(connected())


async def written(database: Database, key_id: str) -> tuple[int, int | None]:
    row = await key_registry.find_key(database, key_id)
    assert row is not None
    return row["uses"], row["last_used_at"]


def test_what_a_key_was_used_for_is_written_when_the_service_stops(
    api: TestClient,
    settings: Settings,
    registered: Registered,
    login: Login,
    clock: Clock,
    restart: Callable[[], TestClient],
) -> None:
    def now() -> Any:
        return on(settings.database_url, lambda database: written(database, registered.key_id))

    login()
    pair = login()
    clock.advance(100)
    refresh(api, pair["refresh_token"])
    api.post("/login", json={"client_key": f"{registered.key}x"})
    assert now() == (0, None)
    restart()
    assert now() == (3, AT + 100)


def test_a_key_that_opens_nothing_is_not_used(
    api: TestClient, settings: Settings, registered: Registered, restart: Callable[[], TestClient]
) -> None:
    over = f"UPDATE client_keys SET expires_at = {AT}"
    on(settings.database_url, lambda database: database.fetch_all(over))
    assert api.post("/login", json={"client_key": registered.key}).status_code == 401
    restart()
    found = on(settings.database_url, lambda database: written(database, registered.key_id))
    assert found == (0, None)


def test_it_is_written_once_a_minute(settings: Settings) -> None:
    async def run() -> dict[str, float]:
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
            return {
                coroutine.cr_frame.f_locals["action"].__qualname__: (
                    coroutine.cr_frame.f_locals["seconds"]
                )
                for coroutine in coroutines
                if coroutine.cr_code is repeat.__code__
            }

    assert asyncio.run(run())["ClientKeyUses.write"] == 60


def test_many_keys_of_many_workers_add_up(
    settings: Settings, register: Register, registered: Registered
) -> None:
    others = [register(f"client-{number}").key_id for number in range(9)]

    async def action(database: Database) -> None:
        workers = [ClientKeyUses(database) for _ in range(3)]
        for number, worker in enumerate(workers):
            for key_id in (registered.key_id, *others):
                worker.note(key_id, AT + number)
                worker.note(key_id, AT - number)
        await asyncio.gather(*(worker.write() for worker in workers))
        for worker in workers:
            await worker.write()
        for key_id in (registered.key_id, *others):
            assert await written(database, key_id) == (6, AT + 2)

    on(settings.database_url, action)


def test_the_last_use_never_goes_back(settings: Settings, registered: Registered) -> None:
    async def action(database: Database) -> None:
        ahead, behind = ClientKeyUses(database), ClientKeyUses(database)
        for worker, at in ((ahead, AT), (behind, AT - 5), (ahead, AT - 1)):
            worker.note(registered.key_id, at)
            await worker.write()
            assert (await written(database, registered.key_id))[1] == AT
        ahead.note(registered.key_id, AT + 1)
        await ahead.write()
        assert await written(database, registered.key_id) == (4, AT + 1)

    on(settings.database_url, action)


def test_what_could_not_be_written_is_kept(
    settings: Settings, register: Register, registered: Registered
) -> None:
    others = [register(f"client-{number}").key_id for number in range(9)]
    key_ids = [registered.key_id, *others]

    async def action(database: Database) -> None:
        key_uses = ClientKeyUses(database)
        for key_id in key_ids:
            key_uses.note(key_id, AT)
        await database.fetch_all("ALTER TABLE client_keys RENAME TO elsewhere")
        for _ in range(2):
            with pytest.raises(TemporarilyUnavailable):
                await key_uses.write()
        await database.fetch_all("ALTER TABLE elsewhere RENAME TO client_keys")
        await key_uses.write()
        for key_id in key_ids:
            assert await written(database, key_id) == (1, AT)

    on(settings.database_url, action)


class Gate(Database):
    """Answers when it is told to, long after a statement was committed, or was not."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.has_begun = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.is_broken = False

    async def fetch_all(  # type: ignore[override]
        self, query: ClauseElement | str, values: Any = None
    ) -> list[Row]:
        is_broken = self.is_broken
        rows = [] if is_broken else await super().fetch_all(query, values)
        self.has_begun.set()
        await self.may_answer.wait()
        if is_broken:
            raise TemporarilyUnavailable
        return rows


def at_the_gate(settings: Settings, test: Callable[[Gate, ClientKeyUses], Any]) -> None:
    async def run() -> None:
        async with Gate(settings.database_url) as gate:
            await test(gate, ClientKeyUses(gate))

    asyncio.run(run())


def test_what_is_under_way_when_the_service_stops_is_awaited_and_counted_once(
    settings: Settings, registered: Registered
) -> None:
    async def test(gate: Gate, key_uses: ClientKeyUses) -> None:
        key_uses.note(registered.key_id, AT)
        task = asyncio.create_task(key_uses.write())
        await gate.has_begun.wait()
        task.cancel()
        last = asyncio.create_task(key_uses.write())
        for _ in range(20):
            await asyncio.sleep(0)
        assert task.cancelled()
        assert not last.done()
        gate.may_answer.set()
        await last
        assert await written(gate, registered.key_id) == (1, AT)

    at_the_gate(settings, test)


def test_what_comes_while_a_write_fails_is_kept_too(
    settings: Settings, registered: Registered
) -> None:
    async def test(gate: Gate, key_uses: ClientKeyUses) -> None:
        key_uses.note(registered.key_id, AT + 1)
        gate.is_broken = True
        task = asyncio.create_task(key_uses.write())
        await gate.has_begun.wait()
        key_uses.note(registered.key_id, AT)
        gate.may_answer.set()
        with pytest.raises(TemporarilyUnavailable):
            await task
        gate.is_broken = False
        await key_uses.write()
        assert await written(gate, registered.key_id) == (2, AT + 1)

    at_the_gate(settings, test)


def test_a_key_that_was_deleted_is_no_fault(settings: Settings) -> None:
    async def action(database: Database) -> None:
        key_uses = ClientKeyUses(database)
        key_uses.note("deleted", AT)
        await key_uses.write()
        assert await database.fetch_val("SELECT count(*) FROM client_keys") == 0

    on(settings.database_url, action)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_service_that_cannot_write_it_stops_all_the_same(
    settings: Settings, registered: Registered, database_file: Path
) -> None:
    with Client(create_app(settings)) as api:
        assert_answer(api.post("/login", json={"client_key": registered.key}), 200)
        database_file.unlink()


def test_a_signal_loses_nothing_of_any_worker(tmp_path: Path) -> None:
    file = tmp_path / "auth.db"
    with serve_file(file) as service:
        (client,) = service.register("reporting")
        (served,) = service.servers
        # Each on a connection of its own, so that both workers have some.
        apart = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(base_url=served.url, limits=apart) as http:
            for _ in range(20):
                body = {"client_key": client.key}
                assert http.post("/login", json=body).status_code == 200
    key_id = client.key.split("_")[1]
    uses, last_used_at = on(f"sqlite:///{file}", lambda database: written(database, key_id))
    assert uses == 20
    assert last_used_at is not None


def test_a_database_of_the_first_revision_keeps_its_keys(
    settings: Settings, registered: Registered
) -> None:
    async def action(database: Database) -> None:
        for statement in UNDO:
            await database.fetch_all(statement)
        await database.fetch_all("UPDATE alembic_version SET version_num = '0001'")
        await schema.upgrade(Database(settings.database_url))
        await schema.check(database)
        assert await written(database, registered.key_id) == (0, None)

    on(settings.database_url, action)
