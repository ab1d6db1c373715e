"""A request that is repeated, since its answer was lost, gets that answer, and has no effect again.

An answer may hold a client key, which is shown to nobody else and kept nowhere. So what is kept is
encrypted under a key made of the caller's `Idempotency-Key`, of which we keep a digest, and of our
secret: who reads the database lacks both, and who finds the former in a pipeline's log, the latter.
After `WINDOW_SECONDS` it is gone.
"""

import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from authapi.managing.manager import Manager
from authapi.managing.refusals import IdempotencyKeyReused
from authapi.store.kept_answers import find_answer, keep_answer

WINDOW_SECONDS = 86_400
NONCE_BYTES = 12
Json = dict[str, Any]


class Repeatable(NamedTuple):
    """A request with an `Idempotency-Key`: whose, and what it asks for. The first of `secrets`
    seals, and each opens, so that a repeat outlives a change of the secret."""

    client_id: str
    key: str
    request: str
    secrets: Sequence[str]

    @property
    def digest(self) -> str:
        """By which the answer is found: for this client alone."""
        return sha256(f"{self.client_id} {self.key}".encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        return sha256(self.request.encode()).hexdigest()

    def seal(self, answer: Json) -> str:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher(self.secrets[0]).encrypt(nonce, orjson.dumps(answer), self._bound)
        return b64encode(nonce + sealed).decode()

    def open(self, kept: str) -> Json:
        """Raises `IdempotencyKeyReused` where no secret of ours opens it any more."""
        sealed = b64decode(kept)
        for secret in self.secrets:
            try:
                cipher, nonce = self._cipher(secret), sealed[:NONCE_BYTES]
                return dict(orjson.loads(cipher.decrypt(nonce, sealed[NONCE_BYTES:], self._bound)))
            except InvalidTag:
                continue
        raise IdempotencyKeyReused("sealed with a secret that is gone", client=self.client_id)

    @property
    def _bound(self) -> bytes:
        """What the answer cannot be torn from."""
        return f"{self.digest} {self.fingerprint}".encode()

    def _cipher(self, secret: str) -> AESGCM:
        made_of = f"auth-api answer {self.client_id} {self.key}"
        return AESGCM(hmac.digest(secret.encode(), made_of.encode(), "sha256"))


class _Done(NamedTuple):
    """What is answered. If it was kept, nothing was done but to find it."""

    answer: Json
    was_kept: bool


async def once(
    manager: Manager,
    repeatable: Repeatable | None,
    action: Callable[[], Awaitable[Json]],
    record: Callable[[], None],
) -> Json:
    """Decide by `action`, whose answer is kept in the same transaction: of two that are sent at
    once, the second waits for the first, and gets its answer. `record` says what was done.

    Raises `IdempotencyKeyReused`; and for a repeat what `Manager.find_client` does of the client.
    """

    async def run() -> _Done:
        if repeatable is None:
            return _Done(await action(), was_kept=False)
        now, digest = manager.clock(), repeatable.digest
        kept = await find_answer(manager.database, digest, now)
        if kept is not None:
            if kept["request"] != repeatable.fingerprint:
                raise IdempotencyKeyReused("another request", client=repeatable.client_id)
            answer = repeatable.open(kept["sealed"])
            # It may hold a key, and since then the caller may have less, or the client more.
            await manager.find_client(answer["user_id"])
            return _Done(answer, was_kept=True)
        answer, expires_at = await action(), int(now) + WINDOW_SECONDS
        sealed = repeatable.seal(answer)
        await keep_answer(manager.database, digest, repeatable.fingerprint, sealed, expires_at)
        return _Done(answer, was_kept=False)

    def record_once(done: _Done) -> None:
        if not done.was_kept:
            record()

    return (await manager.decide(run, record_once)).answer
