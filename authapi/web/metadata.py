"""What standard clients read before they ask for anything (RFC 8414)."""

from collections.abc import Sequence
from typing import Any

TOKEN_PATH = "/oauth/token"  # noqa: S105  # is no secret
REVOCATION_PATH = "/oauth/revoke"
INTROSPECTION_PATH = "/oauth/introspect"
CREDENTIAL_PATHS = (TOKEN_PATH, REVOCATION_PATH, INTROSPECTION_PATH)
METADATA_PATH = "/.well-known/oauth-authorization-server"
JWKS_PATH = "/.well-known/jwks.json"


def is_url(issuer: str) -> bool:
    return issuer.startswith(("http://", "https://"))


def public_url(issuer: str) -> str:
    """Where callers reach us, if the issuer says so."""
    return issuer.rstrip("/") if is_url(issuer) else ""


def endpoint(issuer: str, path: str) -> str:
    """Of the issuer that is configured, never of a `Host` that a caller sent."""
    return issuer.rstrip("/") + path


def audiences(issuer: str) -> frozenset[str]:
    """The names that a client may give us in an assertion (RFC 7523, 3): some clients name the
    endpoint that they show it to, which not only the token endpoint is."""
    endpoints = {endpoint(issuer, path) for path in CREDENTIAL_PATHS} if is_url(issuer) else set()
    return frozenset({issuer} | endpoints)


def describe_server(
    issuer: str, algorithms: Sequence[str], publishes_keys: bool
) -> dict[str, Any] | None:
    """The metadata; None where the issuer is no URL, and so nobody can find it. `algorithms` are
    what a client may sign with.

    `response_types_supported` is left out, since no grant here uses an authorization endpoint: an
    empty list must not be sent (RFC 8414, 3.2 and erratum 7793).
    """
    if not is_url(issuer):
        return None
    methods = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
    document: dict[str, Any] = {
        "issuer": issuer,
        "grant_types_supported": ["client_credentials", "refresh_token"],
    }
    for name, path in (
        ("token", TOKEN_PATH),
        ("revocation", REVOCATION_PATH),
        ("introspection", INTROSPECTION_PATH),
    ):
        document[f"{name}_endpoint"] = endpoint(issuer, path)
        document[f"{name}_endpoint_auth_methods_supported"] = methods
        document[f"{name}_endpoint_auth_signing_alg_values_supported"] = algorithms
    if publishes_keys:
        document["jwks_uri"] = endpoint(issuer, JWKS_PATH)
    return document
