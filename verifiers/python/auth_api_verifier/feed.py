"""Asks the service: for a token of one's own, for what is new in the feed, for public keys."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import httpx

from auth_api_verifier.revocations import Answer

SCOPE = "revocations:read"
LOGIN_SECONDS = 5.0
REFUSED_SECONDS = 5.0
"""After a refused login, before the next: the service counts them against our address."""
RENEW_AT = 0.8
"""Of the life of the verifier's own token, after which it logs in anew."""


class Fault(Exception):
    """Why there is no answer, in words for an operator; `status` is of what came instead."""

    def __init__(self, words: str, status: int = 0) -> None:
        super().__init__(words)
        self.status = status


class Feed:
    """Of the service at `url`. Used in one event loop, by one request at a time."""

    def __init__(self, url: str, client_key: str, steady: Callable[[], float]) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=None)  # noqa: S113  # see `_ask`
        self._client_key = client_key
        self._steady = steady
        self._token = ""
        self._renew_at = self._login_at = steady()
        self._refusal = ""

    async def close(self) -> None:
        await self._http.aclose()

    async def poll(self, cursor: str, wait: float, late_seconds: float) -> tuple[Answer, float]:
        """Also when it was sent, by the steady clock. Raises `Fault` for whatever is no answer of
        right now."""
        if not self._token or self._steady() >= self._renew_at:
            await self._log_in()
        nonce = secrets.token_urlsafe(16)
        headers = {"Authorization": f"Bearer {self._token}", "X-Request-ID": nonce}
        query = {"after": cursor, "wait": f"{wait:.3f}"} if cursor else {}
        sent = self._steady()
        try:
            asked = {"params": query, "headers": headers}
            body = await self._ask("polling", "GET", "/revocations", late_seconds, nonce, **asked)
        except Fault as fault:
            if fault.status in (401, 403):
                self._token = ""
            raise
        return Answer.parse(body), sent

    async def _log_in(self) -> None:
        self._token = ""
        now = self._steady()
        if now < self._login_at:
            raise Fault(self._refusal)
        shown = {"client_key": self._client_key, "scope": SCOPE}
        try:
            pair = await self._ask("logging in", "POST", "/login", LOGIN_SECONDS, json=shown)
        except Fault as fault:
            if 0 < fault.status < 500:
                self._login_at, self._refusal = now + REFUSED_SECONDS, str(fault)
            raise
        self._token = str(pair["access_token"])
        self._renew_at = now + RENEW_AT * pair["expires_in"]

    async def public_keys(self, late_seconds: float) -> Any:
        """The JWK Set as it is published. Raises `Fault`."""
        headers = {"Cache-Control": "no-cache"}
        path = "/.well-known/jwks.json"
        return await self._ask("loading keys", "GET", path, late_seconds, headers=headers)

    async def _ask(
        self, doing: str, method: str, path: str, seconds: float, nonce: str = "", **request: Any
    ) -> Any:
        """The body of a 200, which brings the nonce back if there is one. Raises `Fault`."""
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.request(method, path, **request)
        except TimeoutError as late:
            raise Fault("late") from late
        if nonce and response.headers.get("X-Request-ID") != nonce:
            raise Fault("an answer to another request")
        if response.status_code != 200:
            raise Fault(f"{doing}: {_told(response)}", response.status_code)
        return response.json()


def _told(response: httpx.Response) -> str:
    """Its status and its `error`, if it has one."""
    try:
        return f"{response.status_code} {response.json()['error']}"
    except (ValueError, TypeError, KeyError):
        return str(response.status_code)
