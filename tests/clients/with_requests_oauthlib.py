"""requests-oauthlib, which has oauthlib write the request that revokes a token."""

import os

from oauthlib.oauth2 import BackendApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from tests.clients.script import SCOPE, Given, tell

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # else it calls no http:// address
given = Given()
auth = HTTPBasicAuth(given.client_id, given.credential)
backend = BackendApplicationClient(given.client_id, scope=[SCOPE])
session = OAuth2Session(client=backend)


def revoke() -> int:
    url, headers, body = backend.prepare_token_revocation_request(
        given.revocation_url, session.token["access_token"]
    )
    asked = session.post(url, body, headers=headers, auth=auth, withhold_token=True)
    asked.raise_for_status()
    status: int = session.get(given.me_url).status_code
    return status


tell(
    "requests-oauthlib",
    token=lambda: session.fetch_token(given.token_url, auth=auth),
    call=lambda: session.get(given.me_url).json(),
    refresh=lambda: session.refresh_token(given.token_url, given.refresh_token, auth=auth),
    revoke=revoke,
)
