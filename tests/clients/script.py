"""What the script of each Python client begins with, its arguments, and ends with, a line."""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

SCOPE = "jobs:read"
"""Less than the client may have."""


class Given:
    """By the command line: URL CLIENT_ID REFRESH_TOKEN SECRET, or ALG KEY_FILE for the secret."""

    def __init__(self) -> None:
        self.url, self.client_id, self.refresh_token, *credential = sys.argv[1:]
        self.token_url = f"{self.url}/oauth/token"
        self.revocation_url = f"{self.url}/oauth/revoke"
        self.introspection_url = f"{self.url}/oauth/introspect"
        self.me_url = f"{self.url}/me"
        self.alg = credential[0] if len(credential) == 2 else ""
        """Of the key that it signs with; empty where it has a secret."""
        self.credential = Path(credential[1]).read_text() if self.alg else credential[0]
        """The secret, or the private key as a PEM."""


def tell(package: str, **steps: Callable[[], Any]) -> None:
    """Take the steps, and print what each gave or how it failed. One that fails ends none: what
    works is told of each."""
    told = {}
    for name, step in steps.items():
        try:
            told[name] = {"gave": step()}
        except Exception as fault:
            told[name] = {"failed": f"{type(fault).__name__}: {fault}"}
    print(json.dumps({"version": version(package), "steps": told}))
