"""httpx-auth, which asks for a token when a request first needs one."""

from typing import Any

import httpx
from httpx_auth import OAuth2ClientCredentials

from tests.clients.script import SCOPE, Given, tell

given = Given()
client = httpx.Client(
    auth=OAuth2ClientCredentials(
        given.token_url, client_id=given.client_id, client_secret=given.credential, scope=SCOPE
    )
)
answers: list[httpx.Response] = []


def token() -> dict[str, Any]:
    answers.append(client.get(given.me_url))
    return {"access_token": answers[0].request.headers["authorization"].removeprefix("Bearer ")}


tell("httpx-auth", token=token, call=lambda: answers[0].json())
