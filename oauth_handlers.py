"""The OAuth endpoints, to the letter of the RFCs, for any standard client; and the feed of those
who verify tokens elsewhere."""

from typing import Any

from starlette.requests import Request

from auth_backend import extract_bearer, requires_scope
from authapi.credentials.client_credentials import ClientCredentials, read_credentials
from authapi.errors import InvalidRequest, InvalidToken, UnsupportedGrantType
from authapi.request_errors import NotFound
from authapi.revocation import cursors
from authapi.revocation.cursors import Cursor
from authapi.web.answers import Answer, record_refusal
from authapi.web.bodies import read_payload
from authapi.web.compressing import compressed
from authapi.web.requests import hold, parameters_of, read_wait, sender_of, values_of
from authapi.web.schemas import GRANT, REVOCATION, TOKEN
from handlers import State


async def token(request: Request[State]) -> Answer:
    """Grant an access token to a client by its credentials (RFC 6749, 4.4).

    Or let a session that `/login` began go on, by its refresh token (RFC 6749, 6).
    """
    payload = await read_payload(request, GRANT)
    grant_type, refresh_token = payload["grant_type"], payload["refresh_token"]
    if grant_type not in ("client_credentials", "refresh_token"):
        raise UnsupportedGrantType(grant_type)
    if grant_type == "refresh_token" and refresh_token is None:
        missing = {"refresh_token": ["Missing data for required field."]}
        raise InvalidRequest("no refresh token", missing)
    oauth, shown = request.state["oauth"], _shown(request, payload)
    sender = sender_of(request.scope)
    if grant_type == "client_credentials":
        answer: Any = await oauth.grant(shown, sender, payload["scope"])
    else:
        answer = await oauth.refresh(shown, sender, refresh_token)
    return Answer(answer, headers={"Pragma": "no-cache"})  # RFC 6749, 5.1


async def revoke(request: Request[State]) -> Answer:
    """End the session of an access token or a refresh token (RFC 7009)."""
    payload = await read_payload(request, REVOCATION)
    shown, sender = _shown(request, payload), sender_of(request.scope)
    await request.state["oauth"].revoke(shown, sender, payload["token"])
    if payload["verifiers"]:
        await request.state["feed"].outlast()
    return Answer({})


async def introspect(request: Request[State]) -> Answer:
    """Say whether an access token counts, and what it says (RFC 7662)."""
    payload = await read_payload(request, TOKEN)
    shown, sender = _shown(request, payload), sender_of(request.scope)
    try:
        said = await request.state["oauth"].introspect(shown, sender, payload["token"])
    except InvalidToken as refusal:
        record_refusal(request, refusal)
        said = {"active": False}
    return Answer(said)


def _shown(request: Request[State], payload: dict[str, Any]) -> ClientCredentials:
    return read_credentials(values_of(b"authorization", request.scope["headers"]), payload)


async def metadata(request: Request[State]) -> Answer:
    """Where standard clients find all else (RFC 8414); 404 unless TOKEN_ISSUER is a URL."""
    metadata = request.state["metadata"]
    if metadata is None:
        raise NotFound
    answer = Answer(metadata)
    answer.headers["Cache-Control"] = "public, max-age=3600"
    return answer


async def jwks(request: Request[State]) -> Answer:
    """The public keys, for whoever verifies tokens elsewhere; 404 where there are none."""
    signing_keys = request.state["signing_keys"]
    if signing_keys is None:
        raise NotFound
    keys, max_age = signing_keys.published(request.state["tokens"].database_id)
    answer = Answer({"keys": keys})
    answer.headers["Cache-Control"] = f"public, max-age={max_age}"
    return answer


@requires_scope("revocations:read")
async def revocations(request: Request[State]) -> Answer:
    """Tell a verifier elsewhere what is revoked since it last asked, and how long that holds."""
    asked = parameters_of(request, "after", "wait")
    cursor, wait_seconds = _cursor(asked.get("after")), read_wait(asked.get("wait", "0"))
    found = await request.state["feed"].poll(cursor, wait_seconds, hold(request.scope))
    if wait_seconds:  # in which the token may have been ended
        await request.state["sessions"].check(str(extract_bearer(request.scope["headers"])))
    return await compressed(Answer(found), request.scope["headers"])


def _cursor(text: str | None) -> Cursor | None:
    try:
        return None if text is None else cursors.read(text)
    except ValueError:
        raise InvalidRequest("no cursor", {"after": ["Not a cursor of ours."]}) from None
