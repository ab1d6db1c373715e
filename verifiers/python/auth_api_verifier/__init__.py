"""Verifies the access tokens of auth-api offline, and refuses what was ended there."""

from auth_api_verifier.threaded import ThreadedVerifier
from auth_api_verifier.tokens import Claims, Refused, Unavailable, VerifierError, bearer_token
from auth_api_verifier.verifier import Status, Verifier

__all__ = [
    "Claims",
    "Refused",
    "Status",
    "ThreadedVerifier",
    "Unavailable",
    "Verifier",
    "VerifierError",
    "bearer_token",
]
