"""How a client shows who it is at the OAuth endpoints (RFC 6749, 2.3; RFC 7521, 4.2)."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from authapi.credentials.assertions import ASSERTION_TYPE
from authapi.errors import InvalidRequest, RefusedClient


class ClientCredentials(NamedTuple):
    """A `client_id` with its secret, which is a client key; or an assertion, and the `client_id`
    that came with it, if one did."""

    client_id: str | None
    client_secret: str
    client_assertion: str | None = None


def read_credentials(
    authorization: Sequence[bytes], payload: Mapping[str, str | None]
) -> ClientCredentials:
    """From the one `Authorization: Basic` header or from the payload, and never from both.

    Raises `InvalidRequest`, and `RefusedClient` where nothing is shown.
    """
    if len(authorization) > 1:
        raise InvalidRequest("several Authorization headers")
    scheme, _, encoded = b"".join(authorization).partition(b" ")
    is_basic = scheme.lower() == b"basic"
    client_id, secret = payload["client_id"], payload["client_secret"]
    assertion = payload["client_assertion"]
    if is_basic + (secret is not None) + (assertion is not None) > 1:
        raise InvalidRequest("several ways to authenticate")
    if is_basic:
        return _from_basic(encoded, client_id)
    if assertion is not None:
        if payload["client_assertion_type"] != ASSERTION_TYPE:
            raise InvalidRequest("no such assertion", {"client_assertion_type": ["Unknown."]})
        return ClientCredentials(client_id, "", assertion)
    if secret is None:
        raise RefusedClient("no credentials")
    if client_id is None:
        raise InvalidRequest("no client_id", {"client_id": ["Missing data for required field."]})
    return ClientCredentials(client_id, secret)


def read_proof(client_id: str | None, payload: Mapping[str, Any]) -> ClientCredentials:
    """Its key, or an assertion, by which a client proves that it has the key: beside the token of
    this client, or by itself. Raises `InvalidRequest`."""
    key, assertion = payload.get("client_key"), payload.get("client_assertion")
    if (key is None) == (assertion is None):
        raise InvalidRequest("no proof, or two", {"client_key": ["This or client_assertion."]})
    return ClientCredentials(client_id, key or "", assertion)


def _from_basic(encoded: bytes, client_id: str | None) -> ClientCredentials:
    """Both halves are form-encoded (RFC 6749, 2.3.1). Many clients leave that out, which makes no
    difference to ids of hexadecimal digits and keys of letters, digits and `_`."""
    try:
        name, colon, secret = b64decode(encoded.strip(b" "), validate=True).decode().partition(":")
    except ValueError:
        raise InvalidRequest("not Basic credentials") from None
    shown = ClientCredentials(unquote_plus(name), unquote_plus(secret))
    if not colon or client_id not in (None, shown.client_id):
        raise InvalidRequest("not Basic credentials, or of another client")
    return shown
