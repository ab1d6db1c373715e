"""GET /.well-known/oauth-authorization-server: where clients find all else (RFC 8414)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from settings import Settings
from tests import signing
from tests.checks import assert_refused
from tests.conftest import Clock
from tests.inline import Client

PATH = "/.well-known/oauth-authorization-server"
METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
ALGORITHMS = ["ES256", "RS256", "Ed25519", "EdDSA"]


def test_it_says_what_there_is_and_where(settings: Settings, clock: Clock) -> None:
    served = replace(settings, token_issuer="https://auth.example")
    with Client(create_app(served, clock)) as api:
        response = api.get(
            PATH, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
        )
    assert response.status_code == 200
    assert response.headers["cache-control"] == "public, max-age=3600"
    document: dict[str, Any] = {"issuer": "https://auth.example"}
    document |= {"grant_types_supported": ["client_credentials", "refresh_token"]}
    for name, path in (
        ("token", "token"),
        ("revocation", "revoke"),
        ("introspection", "introspect"),
    ):
        document |= {
            f"{name}_endpoint": f"https://auth.example/oauth/{path}",
            f"{name}_endpoint_auth_methods_supported": METHODS,
            f"{name}_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        }
    assert response.json() == document


def test_the_public_keys_are_named_where_there_are_some(
    settings: Settings, clock: Clock, tmp_path: Path
) -> None:
    file = signing.write(tmp_path / "keys.json", signing.ES256().jwk)
    served = replace(settings, token_issuer="http://127.0.0.1:8000/", signing_keys_file=str(file))
    with Client(create_app(served, clock)) as api:
        document = api.get(PATH).json()
        assert document["issuer"] == "http://127.0.0.1:8000/"
        assert document["token_endpoint"] == "http://127.0.0.1:8000/oauth/token"
        assert document["jwks_uri"] == "http://127.0.0.1:8000/.well-known/jwks.json"


@pytest.mark.parametrize("issuer", ["auth-api", "auth.example", "urn:auth", "https:auth.example"])
def test_nobody_finds_it_by_a_name_that_is_no_url(
    settings: Settings, clock: Clock, issuer: str
) -> None:
    with Client(create_app(replace(settings, token_issuer=issuer), clock)) as api:
        assert_refused(api.get(PATH), 404, "not_found")
