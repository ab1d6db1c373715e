"""Authlib's client on httpx; it takes a PEM for one of RSA, so the key is read for it."""

from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey

from tests.clients.script import SCOPE, Given, tell

given = Given()
method = "private_key_jwt" if given.alg else "client_secret_basic"
client = OAuth2Client(
    given.client_id,
    ECKey.import_key(given.credential) if given.alg else given.credential,
    scope=SCOPE,
    token_endpoint_auth_method=method,
    revocation_endpoint_auth_method=method,
)
if given.alg:
    client.register_client_auth_method(PrivateKeyJWT(given.token_url, alg=given.alg))


def revoke() -> int:
    client.revoke_token(given.revocation_url, token=client.token["access_token"]).raise_for_status()
    status: int = client.get(given.me_url).status_code
    return status


tell(
    "authlib",
    token=lambda: dict(client.fetch_token(given.token_url, grant_type="client_credentials")),
    call=lambda: client.get(given.me_url).json(),
    refresh=lambda: dict(client.refresh_token(given.token_url, refresh_token=given.refresh_token)),
    introspect=lambda: client.introspect_token(
        given.introspection_url, token=client.token["access_token"]
    ).json(),
    revoke=revoke,
)
