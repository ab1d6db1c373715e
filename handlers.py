"""The endpoints: each reads its request, calls a rule and answers."""

from collections.abc import Callable
from typing import Any, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from auth_backend import authenticated, demand_scopes, extract_bearer, requires_scope
from authapi.credentials.client_credentials import read_proof
from authapi.credentials.scopes import read_scopes
from authapi.credentials.signing_key_file import WatchedKeys
from authapi.credentials.tokens import Tokens
from authapi.engines.database import Database
from authapi.errors import InvalidRequest, InvalidToken, MissingToken, TemporarilyUnavailable
from authapi.managing.over_http import Managers
from authapi.managing.validation import given_public_key
from authapi.revocation.feed import Feed
from authapi.rules.client_cache import ClientCache
from authapi.rules.oauth import OAuth
from authapi.rules.own_keys import OwnKeys
from authapi.rules.sessions import Sessions
from authapi.store.health import ping
from authapi.telemetry import audit
from authapi.telemetry.flood import Refusals
from authapi.throttling.failed_logins import FailedLogins
from authapi.web.answers import Answer, in_header
from authapi.web.bodies import read_json, read_payload
from authapi.web.managing_schemas import OWN_ROTATION, SHOWN_KEY
from authapi.web.requests import id_in_path, parameters_of, sender_of
from authapi.web.schemas import LOGIN, LOGOUT, REFRESH

ANY_METHOD = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class State(TypedDict):
    """What the lifespan lends to every request."""

    database: Database
    sessions: Sessions
    oauth: OAuth
    own_keys: OwnKeys
    metadata: dict[str, Any] | None
    tokens: Tokens
    refusals: Refusals
    client_cache: ClientCache
    failed_logins: FailedLogins
    signing_keys: WatchedKeys | None
    feed: Feed
    document: Callable[[], dict[str, Any]]
    docs: Callable[[str], Response]
    base_url: str
    managers: Managers


async def login(request: Request[State]) -> Answer:
    """Exchange a client key for the tokens of a new session."""
    _refuse_if_unavailable(request)
    payload = await read_payload(request, LOGIN)
    pair = await request.state["sessions"].log_in(
        payload["client_key"], sender_of(request.scope), payload["scope"]
    )
    return Answer(pair)


async def refresh_token(request: Request[State]) -> Answer:
    """Exchange a refresh token for the next pair; each counts once."""
    _refuse_if_unavailable(request)
    payload = await read_payload(request, REFRESH)
    pair = await request.state["sessions"].refresh(payload["refresh_token"])
    return Answer(pair)


async def logout(request: Request[State]) -> Answer:
    """End the session of an access token, or every session of its client."""
    _refuse_if_unavailable(request)
    payload = await read_payload(request, LOGOUT)
    access_token = _token_to_end(request, payload["access_token"])
    await request.state["sessions"].log_out(access_token, payload["everywhere"])
    if payload["verifiers"]:
        await request.state["feed"].outlast()
    return Answer({"message": "Logged out."})


def _refuse_if_unavailable(request: Request[State]) -> None:
    """A request that has waited for the database because of its header does not wait again."""
    refusal = getattr(request.user, "refusal", None)
    if isinstance(refusal, TemporarilyUnavailable):
        raise refusal


def _token_to_end(request: Request[State], in_body: str | None) -> str:
    """From the header or the body, and not from both (RFC 6750, 2). Not from `request.user`, since
    a token that is expired or ended may log out, too."""
    in_header = extract_bearer(request.scope["headers"])
    if in_header is not None and in_body is not None:
        raise InvalidRequest("a token in the header and in the body")
    token = in_body if in_header is None else in_header
    if token is None:
        raise MissingToken
    return token


@authenticated
async def secure_data(request: Request[State]) -> Answer:
    """What stands for your API: it opens to a good access token."""
    return Answer({"message": "This is what the token opens.", "user_id": request.user.identity})


@authenticated
async def me(request: Request[State]) -> Answer:
    """Who the access token is for, and what it may do."""
    claims = request.user.claims
    client = await request.state["client_cache"].find_client(claims.sub)
    if client is None:
        raise InvalidToken("unknown client")
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


@authenticated
async def verify(request: Request[State]) -> Answer:
    """Tell a proxy in headers who calls, before it lets a request through.

    It takes any method, since some proxies ask by that of the request, and reads no body.
    """
    demand_scopes(request, _scopes_in_query(request))
    claims = request.user.claims
    client = await request.state["client_cache"].find_client(claims.sub)
    if client is None:
        raise InvalidToken("unknown client")
    name = in_header(client["name"])
    who = {"X-Client-Id": claims.sub, "X-Client-Name": name, "X-Scope": claims.scope}
    return Answer({}, headers=who)


def _scopes_in_query(request: Request[State]) -> list[str]:
    """Those of `?scope=`, of which none is a slip, too."""
    if not request.scope["query_string"]:
        return []
    try:
        scopes = read_scopes(parameters_of(request, "scope").get("scope", ""))
    except ValueError:
        scopes = []
    if not scopes:
        raise InvalidRequest("no scope in the query", {"scope": ["Not a list of scopes."]})
    return scopes


@requires_scope("keys:self")
async def list_own_keys(request: Request[State]) -> Answer:
    """List the client's own keys, the oldest first; not the keys themselves, which nobody has."""
    return Answer({"keys": await request.state["own_keys"].list(request.user.claims)})


@requires_scope("keys:self")
async def rotate_own_key(request: Request[State]) -> Answer:
    """Make the client's next key, shown this once.

    The older ones stay open: use the new one, and end them then.
    """
    audit.name_actor(request.user.identity)
    session, payload = request.user.claims, await read_json(request, OWN_ROTATION)
    shown, sender = read_proof(session.sub, payload), sender_of(request.scope)
    own_keys, public_key = request.state["own_keys"], given_public_key(payload)
    return Answer(await own_keys.rotate(session, shown, sender, public_key))


@requires_scope("keys:self")
async def end_own_key(request: Request[State]) -> Answer:
    """End one of the client's own keys, and every session that it began; a repeat is no fault."""
    audit.name_actor(request.user.identity)
    await request.state["own_keys"].end(request.user.claims, id_in_path(request, "key_id", 16))
    return Answer({"message": "Revoked."})


async def end_shown_key(request: Request[State]) -> Answer:
    """End a key that leaked, for whoever shows it. The answer does not say whether it was one."""
    shown = read_proof(None, await read_json(request, SHOWN_KEY))
    await request.state["own_keys"].end_shown(shown, sender_of(request.scope))
    return Answer({"message": "If that was a client key, it opens nothing any more."})


async def healthz(request: Request[State]) -> Answer:
    """The process is up."""
    return Answer({"status": "ok"})


async def readyz(request: Request[State]) -> Answer:
    """The database answers; else 503."""
    await ping(request.state["database"])
    return Answer({"status": "ok"})
