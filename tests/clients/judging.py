"""Whether what a client has got by a step is what it asked for."""

from collections.abc import Callable
from typing import Any

from tests.clients.script import SCOPE
from tests.forge import claims_of


def fault_of(step: str, told: dict[str, Any], client_id: str, given: str) -> str:
    """What is wrong with what a step gave; empty if it is as it should be."""
    if step not in told["steps"]:
        return "not taken"
    result = told["steps"][step]
    if "failed" in result:
        return str(result["failed"])
    gave = result["gave"]
    try:
        is_right = JUDGED[step](gave, client_id, given)
    except (LookupError, TypeError):  # an error that the client takes for an answer
        is_right = False
    return "" if is_right else f"gave {gave}"


def _is_for_client(gave: Any, client_id: str) -> bool:
    claims = claims_of(gave["access_token"])
    is_short = gave.get("expires_in", 900) == 900
    return is_short and (claims["client_id"], claims["scope"]) == (client_id, SCOPE)


JUDGED: dict[str, Callable[[Any, str, str], bool]] = {
    "token": lambda gave, client_id, _: (
        _is_for_client(gave, client_id) and not gave.get("refresh_token")
    ),
    "call": lambda gave, client_id, _: (gave["user_id"], gave["scopes"]) == (client_id, [SCOPE]),
    "refresh": lambda gave, client_id, given: (
        _is_for_client(gave, client_id) and gave["refresh_token"] not in (None, given)
    ),
    "introspect": lambda gave, client_id, _: (
        (gave["active"], gave["client_id"], gave["scope"]) == (True, client_id, SCOPE)
    ),
    "revoke": lambda status, *_: bool(status == 401),
    "validate": lambda claims, client_id, _: bool(claims["client_id"] == client_id),
}
"""Of each step, whether what it gave is right. `revoke` gives the status of a call after it."""
