"""Who manages, and what they may: nobody gains by it, or locks everybody out."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from authapi.clocks import Clock
from authapi.credentials.claims import Claims
from authapi.credentials.scopes import is_within
from authapi.engines.database import Database, Row
from authapi.errors import InvalidToken
from authapi.managing.refusals import ExceedsOwnScopes, LastAdministrator
from authapi.request_errors import NotFound
from authapi.store.administration import ADMINISTERS, count_administrators
from authapi.store.clients import find_client
from authapi.store.revocations import is_ended, mark_registry_changed

T = TypeVar("T")
READ, WRITE = "admin:read", ADMINISTERS
"""The scopes of who reads, and of who changes something."""


@dataclass(frozen=True, slots=True)
class Manager:
    """`claims` are of the access token that manages. Without, it is the operator who types a
    command, and may do everything. `settle` returns once what was committed before is in force on
    every worker, and at every verifier elsewhere. `turn` is what one at a time has who decides.
    `needs_one` is whether an administrator must be left."""

    database: Database
    clock: Clock
    settle: Callable[[], Awaitable[object]]
    claims: Claims | None = None
    turn: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
    needs_one: bool = True

    async def decide(self, action: Callable[[], Awaitable[T]], record: Callable[[T], object]) -> T:
        """Run `action` in a transaction in which nobody else changes a client or a key; `record`
        it as soon as it is done, and before anybody waits until it is in force.

        Whoever was disabled, or lost a scope, has lost all tokens by that: so one that still counts
        then has every scope that it names. Raises `InvalidToken`.
        """

        async def run() -> T:
            # First, since it makes every other change of the registry wait.
            await mark_registry_changed(self.database, self.clock())
            if self.claims is not None and await is_ended(self.database, self.claims):
                raise InvalidToken("ended session", client=self.claims.sub, session=self.claims.sid)
            return await action()

        return await self.alone(run, record)

    async def alone(self, action: Callable[[], Awaitable[T]], record: Callable[[T], object]) -> T:
        """In a transaction. Of one worker there is one at a time: they would wait for one another
        in the database, and each has a connection, which are all that a login has, too."""
        async with self.turn():
            return await self.database.atomically(action, record)

    def demand_own(self, scopes: str, field: str | None = None, target: str = "") -> None:
        """Raises `ExceedsOwnScopes` unless the manager holds all of these; `field` names what asked
        for them, or they are those of the client `target`."""
        if self.claims is not None and not is_within(scopes.split(), self.claims.scope):
            fields = {field: ["More than the access token has."]} if field else None
            details = {"client": self.claims.sub} | ({"target": target} if target else {})
            raise ExceedsOwnScopes("more than its own scopes", fields, **details)

    async def find_client(self, client_id: str) -> Row:
        """One to be changed. Raises `NotFound`, and `ExceedsOwnScopes` if it holds more."""
        client = await find_client(self.database, client_id)
        if client is None:
            raise NotFound("There is no such client any more.")
        self.demand_own(client["scopes"], target=client_id)
        return client

    async def keep_administrator(self, was: Row) -> None:
        """After a change of the client that `was` so: raises `LastAdministrator` if it was the last
        that could log in and manage. The operator can make another one."""
        may_be_last = self.needs_one and ADMINISTERS in was["scopes"].split()
        if self.claims is None or not may_be_last:
            return
        if not await count_administrators(self.database, self.clock()):
            details = {"client": self.claims.sub, "target": was["id"]}
            raise LastAdministrator("the last administrator", **details)
