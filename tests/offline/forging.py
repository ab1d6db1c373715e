"""The catalogue's tokens as a service with keys of a file would sign them: ES256 for HS256."""

import json
from typing import Any

from tests import signing
from tests.attacks.recipes import BY_HEADER, Forger, Json, Names, Request
from tests.offline.feed import kid_of

CURRENT, PREVIOUS, UNKNOWN = (signing.ES256(kid) for kid in ("current", "previous", "unknown"))
_SIGNERS = {"current": CURRENT, "previous": PREVIOUS, "unknown": UNKNOWN}


class PublicKeyForger(Forger):
    """What a recipe says of HS256, it does with ES256, and the other way round."""

    alg = "ES256"
    kids = {
        "kid": kid_of(CURRENT),
        "previous_kid": kid_of(PREVIOUS),
        "unknown_kid": kid_of(UNKNOWN),
    }

    def _sign(self, recipe: Json, message: bytes, names: Names) -> bytes:
        signer = recipe.get("key", "current")
        if "hash" in recipe or "hmac" in recipe or signer not in [*_SIGNERS]:
            return super()._sign(recipe, message, names)
        return _SIGNERS[signer].sign(message)


def for_public_keys(recipe: Json) -> Json:
    """A recipe that says how it is signed tells of its algorithm itself."""
    if "signature" in recipe:
        return recipe
    swapped = json.dumps(recipe).replace("HS256", "?256").replace("ES256", "HS256")
    changed: Json = json.loads(swapped.replace("?256", "ES256"))
    return changed


def opening(case: Json) -> str:
    """The route that the case's access token is for; empty if it is about something else."""
    named = case["input"].get("on", BY_HEADER)
    return next((each for each in ("/secure-data", "/me") if each in named), "")


def forge(forger: Forger, case: Json) -> Request:
    return forger.token_request(case["id"], for_public_keys(case["input"]), opening(case))


def shown(request: Request) -> str:
    """The token in its header, as a server hands that over."""
    ((_, value),) = request.headers
    return value.decode("latin-1").removeprefix("Bearer ").strip(" ")


def is_accepted(case: Json) -> bool:
    expected: Any = case["expect"]["status"]
    return bool(expected == 200)
