"""A Flask service that verifies tokens by itself, and refuses those that were logged out."""

import os

from auth_api_verifier import ThreadedVerifier, VerifierError, bearer_token
from flask import Flask, g, request

verifier = ThreadedVerifier(os.environ["AUTH_URL"], client_key=os.environ["VERIFIER_KEY"])
app = Flask(__name__)


@app.before_request
def authenticate() -> None:
    g.claims = verifier.verify(bearer_token(request.headers.get("Authorization")))


@app.errorhandler(VerifierError)
def refuse(reason: VerifierError) -> tuple[dict[str, str], int, dict[str, str]]:
    return {"error": reason.error}, reason.status, dict(reason.headers)


@app.get("/report")
def report() -> dict[str, object]:
    return {"report": [1, 2, 3], "user_id": g.claims.sub}
