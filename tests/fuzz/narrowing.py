"""The description that is served, with bodies that are likelier to open something.

It says that a key is a string, as it must: but no string that is drawn is one. `narrowed.json`
gives the formats that `test_schema.py` fills, the scopes that its client was granted, what belongs
together in a body, and which answer leads to which request. It widens nothing.
"""

import copy
import json
from pathlib import Path
from typing import Any

NARROWED = json.loads((Path(__file__).parent / "narrowed.json").read_text())
BODIES = {
    "login": "Login",
    "refresh_token": "Refresh",
    "logout": "Logout",
    "token": "Grant",
    "revoke": "Token",
    "introspect": "Token",
}
LINKS = {"login": "login", "refresh_token": "login", "logout": "logout"}


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(document)
    for path, item in document["paths"].items():
        for operation in item.values():
            name = operation["operationId"]
            if name in BODIES:
                content = operation["requestBody"]["content"]
                for kind, schema in NARROWED["bodies"][BODIES[name]].items():
                    content[kind]["schema"] = schema
            if name in LINKS:
                operation["responses"]["200"]["links"] = NARROWED["links"][LINKS[name]]
            kinds = NARROWED["managing" if path.startswith("/admin/") else "parameters"]
            for parameter in operation.get("parameters", []):
                parameter["schema"] = kinds[parameter["name"]]
    return document
