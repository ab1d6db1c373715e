"""Every key that opens nothing is refused alike and as late as any, and none grants too much."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import pytest

from authapi.credentials.client_credentials import ClientCredentials
from authapi.credentials.client_keys import new_client_key
from authapi.engines.database import Database
from authapi.errors import InvalidClient, InvalidScope, RefusedClient
from authapi.rules.assertions import Assertions
from authapi.rules.client_authentication import (
    REFUSAL_SECONDS,
    ClientAuthentication,
    granted_scope,
)
from authapi.rules.client_cache import ClientCache
from authapi.throttling.failed_logins import FailedLogins
from authapi.throttling.shared_count import SharedCount
from tests.conftest import NOW, Clock
from tests.copies import copy_of

ADDRESS = "192.0.2.1"
OPEN = {
    "is_known": True,
    "id": "client-1",
    "key_id": "key-1",
    "disabled_at": None,
    "revoked_at": None,
    "expires_at": None,
    "era": 0,
}
DEAD: dict[str, dict[str, Any]] = {
    "unknown key": {"is_known": False},
    "disabled client": {"disabled_at": 1},
    "revoked key": {"revoked_at": 1},
    "expired key": {"expires_at": int(NOW)},
}


class Found:
    """A database that finds this."""

    def __init__(self, login: Mapping[str, Any]) -> None:
        self.url = type("URL", (), {"dialect": "sqlite"})
        self._login = login

    async def fetch_one(self, query: Any, values: Any) -> Mapping[str, Any]:
        return self._login


Ask = Callable[[ClientAuthentication, str], Awaitable[object]]
WAYS: dict[str, tuple[Ask, type[InvalidClient]]] = {
    "at a login": (lambda by, key: by.authenticate(key, ADDRESS, NOW), InvalidClient),
    "at an OAuth endpoint": (
        lambda by, key: by.identify(ClientCredentials("client-1", key), ADDRESS, NOW),
        RefusedClient,
    ),
    "of another client": (
        lambda by, key: by.identify(ClientCredentials("client-2", key), ADDRESS, NOW),
        RefusedClient,
    ),
}


REFUSED = [(way, reason) for way in WAYS for reason in ("malformed key", *DEAD)]


@pytest.mark.parametrize(
    ("way", "reason"), [*REFUSED, ("of another client", "key of another client")]
)
def test_a_key_that_opens_nothing_is_refused_as_late_as_any(
    way: str, reason: str, clock: Clock
) -> None:
    ask, kind = WAYS[way]

    async def authenticate() -> None:
        database = cast(Database, Found(OPEN | DEAD.get(reason, {})))
        revocations = copy_of(database, clock, clock)
        limits = FailedLogins(SharedCount("memory://"), "9/hour", "9/hour")
        authentication = ClientAuthentication(
            ClientCache(database, revocations),
            revocations,
            limits,
            Assertions(database, revocations.clocks, set(), 0),
        )
        key = "malformed" if reason == "malformed key" else new_client_key().text
        began = time.perf_counter()
        with pytest.raises(InvalidClient, match=reason) as refused:
            await ask(authentication, key)
        assert type(refused.value) is kind
        assert began <= refused.value.answer_at - REFUSAL_SECONDS <= time.perf_counter()

    asyncio.run(authenticate())


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("", "reports:read reports:write"),
        ("reports:read", "reports:read"),
        ("reports:write reports:read", "reports:write reports:read"),
        ("reports:read admin:write", None),
        ("reports", None),
        (" ", None),
        ('"', None),
        ("reports:read  reports:write", None),
    ],
)
def test_all_or_less_is_granted_and_never_more(asked: str, granted: str | None) -> None:
    login = OPEN | {"scopes": "reports:read reports:write"}
    if granted is None:
        with pytest.raises(InvalidScope):
            granted_scope(login, asked)
    else:
        assert granted_scope(login, asked) == granted
