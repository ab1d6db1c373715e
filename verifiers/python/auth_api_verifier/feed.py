"""Asks the service: for a token of one's own, for what is new in the feed, for public keys."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx

from auth_api_verifier.revocations import Answer

SCOPE = "revocations:read"
REQUEST_SECONDS = 5.0
"""For a login, and for the keys. A poll says itself for how long it waits."""
REFUSED_SECONDS = 5.0
"""After a refused login, before the next: the service counts them against our address."""
RENEW_AT = 0.8
"""Of the life of the verifier's own token, after which it logs in anew."""


class Fault(Exception):
    """Why there is no answer, in words for an operator."""


class UnknownCursor(Fault):
    """What was held is of another database, or of what the service has lost."""


class Polled(NamedTuple):
    """An answer, and when its request was sent, by the steady clock."""

    answer: Answer
    sent: float


class Feed:
    """Of the service at `url`. Used in one event loop, by one poll at a time."""

    def __init__(self, url: str, client_key: str, steady: Callable[[], float]) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=REQUEST_SECONDS)
        self._client_key = client_key
        self._steady = steady
        self._token = ""
        self._renew_at = self._login_at = steady()
        self._refusal = ""

    async def close(self) -> None:
        await self._http.aclose()

    async def poll(self, cursor: str, wait: float, late_seconds: float) -> Polled:
        """Raises `Fault` for whatever is no answer of right now."""
        if not self._token or self._steady() >= self._renew_at:
            await self._log_in()
        nonce = secrets.token_urlsafe(16)
        headers = {"Authorization": f"Bearer {self._token}", "X-Request-ID": nonce}
        query = {"after": cursor, "wait": f"{wait:.3f}"} if cursor else {}
        sent = self._steady()
        try:
            async with asyncio.timeout(late_seconds):
                response = await self._http.get(
                    "/revocations", params=query, headers=headers, timeout=None
                )
        except TimeoutError as late:
            raise Fault("late") from late
        if response.headers.get("X-Request-ID") != nonce:
            raise Fault("an answer to another request")
        self._demand_success(response)
        return Polled(Answer.parse(response.json()), sent)

    def _demand_success(self, response: httpx.Response) -> None:
        if response.status_code in (401, 403):
            self._token = ""
        if response.status_code != 200:
            kind = UnknownCursor if response.status_code == 410 else Fault
            raise kind(f"polling: {_told(response)}")

    async def _log_in(self) -> None:
        self._token = ""
        now = self._steady()
        if now < self._login_at:
            raise Fault(self._refusal)
        body = {"client_key": self._client_key, "scope": SCOPE}
        response = await self._http.post("/login", json=body)
        if response.status_code != 200:
            self._refusal = f"logging in: {_told(response)}"
            if response.status_code < 500:
                self._login_at = now + REFUSED_SECONDS
            raise Fault(self._refusal)
        pair = response.json()
        self._token = str(pair["access_token"])
        self._renew_at = now + RENEW_AT * pair["expires_in"]

    async def public_keys(self) -> Any:
        """The JWK Set as it is published. Raises `Fault`."""
        headers = {"Cache-Control": "no-cache"}
        response = await self._http.get("/.well-known/jwks.json", headers=headers)
        if response.status_code != 200:
            raise Fault(f"loading keys: {_told(response)}")
        return response.json()


def _told(response: httpx.Response) -> str:
    """Its status and its `error`, if it has one."""
    try:
        return f"{response.status_code} {response.json()['error']}"
    except (ValueError, TypeError, KeyError):
        return str(response.status_code)
