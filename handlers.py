"""The endpoints: parse, decide, answer."""

import time
from functools import partial
from typing import TypedDict

from databases.interfaces import Record
from starlette.requests import Request

from auth_backend import authenticated, extract_bearer
from authapi.credentials.signing_key_file import WatchedKeys
from authapi.credentials.tokens import Tokens
from authapi.engines.database import Database
from authapi.errors import (
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    MissingToken,
    NotFound,
    TemporarilyUnavailable,
)
from authapi.rules.client_cache import ClientCache
from authapi.rules.failed_logins import FailedLogins, pad_refusal
from authapi.rules.sessions import Sessions
from authapi.store import clients as registry
from authapi.store import sessions as store
from authapi.telemetry import audit
from authapi.telemetry.flood import Refusals
from authapi.web.answers import Answer, refuse
from authapi.web.payloads import read_payload
from authapi.web.schemas import LOGIN, LOGOUT, REFRESH


class State(TypedDict):
    """What the lifespan lends to every request."""

    database: Database
    sessions: Sessions
    tokens: Tokens
    failed_logins: FailedLogins
    refusals: Refusals
    client_cache: ClientCache
    signing_keys: WatchedKeys | None


async def login(request: Request[State]) -> Answer:
    _refuse_if_unavailable(request)
    payload = await read_payload(request, LOGIN)
    began, state = time.perf_counter(), request.state
    log_in = partial(state["sessions"].log_in, payload["client_key"], payload["scope"])
    try:
        return Answer(await state["failed_logins"].guard(audit.origin()["address"], log_in))
    except InvalidClient as refusal:
        answer = refuse(request, refusal)
        await pad_refusal(began)
        return answer


async def refresh_token(request: Request[State]) -> Answer:
    _refuse_if_unavailable(request)
    payload = await read_payload(request, REFRESH)
    pair = await request.state["sessions"].refresh(payload["refresh_token"])
    return Answer(pair)


async def logout(request: Request[State]) -> Answer:
    _refuse_if_unavailable(request)
    payload = await read_payload(request, LOGOUT)
    access_token = _token_to_end(request, payload["access_token"])
    await request.state["sessions"].log_out(access_token, payload["everywhere"])
    return Answer({"message": "Logged out."})


def _refuse_if_unavailable(request: Request[State]) -> None:
    """A caller who has waited for the database for the sake of a header does not wait again."""
    refusal = getattr(request.user, "refusal", None)
    if isinstance(refusal, TemporarilyUnavailable):
        raise refusal


def _token_to_end(request: Request[State], in_body: str | None) -> str:
    """RFC 6750, 2: a client sends its token in one way only."""
    in_header = extract_bearer(request.scope["headers"])
    if in_header is not None and in_body is not None:
        raise InvalidRequest("a token in the header and in the body")
    token = in_body if in_header is None else in_header
    if token is None:
        raise MissingToken
    return token


@authenticated
async def secure_data(request: Request[State]) -> Answer:
    return Answer({"message": "This is what the token opens.", "user_id": request.user.identity})


@authenticated
async def me(request: Request[State]) -> Answer:
    claims = request.user.claims

    async def ask() -> Record:
        client = await registry.find_client(request.state["database"], claims.sub)
        if client is None:
            raise InvalidToken("unknown client")
        return client

    client = await request.state["client_cache"].find(claims.sub, ask)
    return Answer(
        {
            "user_id": client["id"],
            "name": client["name"],
            "scopes": claims.scope.split(),
            "created_at": client["created_at"],
            "session_id": claims.sid,
            "token_expires_at": claims.exp,
        }
    )


async def jwks(request: Request[State]) -> Answer:
    """The public keys, for whoever verifies our tokens elsewhere; a secret is not for others."""
    signing_keys = request.state["signing_keys"]
    if signing_keys is None:
        raise NotFound
    keys, max_age = signing_keys.published(request.state["tokens"].database_id)
    answer = Answer({"keys": keys})
    answer.headers["Cache-Control"] = f"public, max-age={max_age}"
    return answer


async def healthz(request: Request[State]) -> Answer:
    """The process is up."""
    return Answer({"status": "ok"})


async def readyz(request: Request[State]) -> Answer:
    """The database answers; else 503."""
    await store.ping(request.state["database"])
    return Answer({"status": "ok"})
