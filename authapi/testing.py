"""For tests of routes of your own: the service in this process, and a token of any scope."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.testclient import TestClient

from app import create_app
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.engines import schema
from authapi.engines.database import Database
from authapi.store import clients
from settings import load_settings


@dataclass(frozen=True)
class ServedRoutes:
    """`client` is Starlette's TestClient over the whole service, and `database_url` names its
    database."""

    client: TestClient
    database_url: str
    _portal: BlockingPortal

    def token(self, scope: str = "") -> str:
        """The access token of a new client that was granted these scopes."""
        key = new_client_key()

        async def register() -> None:
            client_id, name, now = new_client_id(), secrets.token_hex(8), int(time.time())
            async with Database(self.database_url) as database:
                await clients.create_client(database, client_id, name, key, now, scope)

        self._portal.call(register)
        answer = self.client.post("/login", json={"client_key": key.text})
        return str(answer.json()["access_token"])

    def bearer(self, scope: str = "") -> dict[str, str]:
        """The header that shows such a token."""
        return {"Authorization": f"Bearer {self.token(scope)}"}


@contextmanager
def served(routes: str, **settings: str) -> Iterator[ServedRoutes]:
    """Serve the routes that ROUTES=`routes` would, on an empty database of their own.

    Further settings have the names that they have in the environment.
    """
    with TemporaryDirectory() as folder, start_blocking_portal() as portal:
        url = f"sqlite:///{Path(folder) / 'auth.db'}"
        own = {"SECRET_KEY": secrets.token_hex(32), "DATABASE_URL": url, "ROUTES": routes}
        portal.call(schema.prepare, Database(url), True)
        with TestClient(create_app(load_settings(own | settings))) as client:
            yield ServedRoutes(client, url, portal)
