"""requests-oauth2client, which finds the endpoints in the metadata."""

from typing import Any

import requests
from jwskate import Jwk
from requests_oauth2client import OAuth2Client, PrivateKeyJwt

from tests.clients.script import SCOPE, Given, tell

given = Given()


def auth() -> Any:
    if not given.alg:
        return given.client_id, given.credential
    # It wants a `kid`; the thumbprint is the one that a key from a PEM is registered under.
    key = Jwk.from_pem(given.credential).with_kid_thumbprint()
    return PrivateKeyJwt(given.client_id, key, alg=given.alg)


client = OAuth2Client.from_discovery_endpoint(
    f"{given.url}/.well-known/oauth-authorization-server",
    issuer=given.url,
    auth=auth(),
    testing=True,  # for http:// alone
)
tokens: list[Any] = []


def token() -> Any:
    tokens.append(client.client_credentials(scope=SCOPE))
    return tokens[0].as_dict()


def call() -> requests.Response:
    return requests.get(given.me_url, auth=tokens[0], timeout=20)


def revoke() -> int:
    client.revoke_access_token(tokens[0])
    return call().status_code


tell(
    "requests-oauth2client",
    token=token,
    call=lambda: call().json(),
    refresh=lambda: client.refresh_token(given.refresh_token).as_dict(),
    introspect=lambda: client.introspect_token(tokens[0]),
    revoke=revoke,
)
