"""msal's oauth2cli, which is for any server; the rest of msal is for one."""

from typing import Any

import requests
from msal.oauth2cli import Client, JwtSigner

from tests.clients.script import SCOPE, Given, tell

given = Given()


def credential() -> dict[str, Any]:
    if not given.alg:
        return {"client_secret": given.credential}
    signer = JwtSigner(given.credential, given.alg)
    return {
        "client_assertion": lambda: signer.sign_assertion(given.token_url, given.client_id),
        "client_assertion_type": Client.CLIENT_ASSERTION_TYPE_JWT,
    }


client = Client({"token_endpoint": given.token_url}, given.client_id, **credential())
token: dict[str, Any] = {}


def fetch() -> dict[str, Any]:
    token.update(client.obtain_token_for_client(scope=SCOPE))
    return token


def call() -> Any:
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    return requests.get(given.me_url, headers=headers, timeout=20).json()


tell(
    "msal",
    token=fetch,
    call=call,
    refresh=lambda: client.obtain_token_by_refresh_token(given.refresh_token, scope=SCOPE),
)
