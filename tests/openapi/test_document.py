"""GET /openapi.json: every route, every refusal and every header that there is, and no other."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from marshmallow import Schema, fields
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from app import managing, routes
from authapi import errors
from authapi.extending import Answer, Description, Endpoint, Payload, describes, requires_scope
from authapi.openapi.document import build
from authapi.openapi.managing_paths import MANAGED
from authapi.openapi.paths import OURS
from authapi.request_errors import MethodNotAllowed, NotFound
from authapi.telemetry.version import VERSION

ROUTES = [*routes, *managing]
DOCUMENT = build(ROUTES, VERSION)
OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]
PAGES = {"/", "/docs"}
"""For people alone."""


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        _, kind, name = node["$ref"].removeprefix("#/").split("/")
        node = DOCUMENT["components"][kind][name]
    return node


def test_it_is_valid() -> None:
    validate(DOCUMENT)


def test_it_is_served_as_it_is_built(api: TestClient) -> None:
    response = api.get("/openapi.json", headers={"Host": "evil.example"})
    assert response.json() == json.loads(json.dumps(build(routes, VERSION)))
    assert response.headers["cache-control"] == "public, max-age=300"
    assert "evil.example" not in response.text
    assert DOCUMENT["info"]["version"] == VERSION


def test_every_route_is_described() -> None:
    described = set(DOCUMENT["paths"])
    missing = {route.path for route in ROUTES} - described - PAGES
    assert not missing, f"say in OURS of authapi/openapi/paths.py what {missing} takes and answers"
    assert described == {*OURS, *(each.split()[1] for each in MANAGED)}, (
        "it describes what is no route"
    )


def test_every_operation_says_what_it_is_for() -> None:
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)
    for path, _, operation in OPERATIONS:
        assert operation["summary"].endswith((".", "page")), f"the docstring of {path}"
        assert "RFC" not in operation["summary"][:3], path


def leaves(kind: type[errors.Refusal]) -> set[type[errors.Refusal]]:
    """Of the service's own: what a test made is none of them."""
    children = {leaf for child in kind.__subclasses__() for leaf in leaves(child)}
    ours = kind.__module__.startswith("authapi.")
    return children | ({kind} if ours and hasattr(kind, "error") else set())


def shapes(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for status, response in operation["responses"].items():
        body = resolve(response["content"]["application/json"]["schema"])
        for each in body.get("oneOf", [body]):
            yield status, response, resolve(each)


def test_every_refusal_is_described_to_the_letter() -> None:
    described = {
        (status, *(shape["properties"][name]["enum"][0] for name in ("error", "error_description")))
        for _, _, operation in OPERATIONS
        for status, _, shape in shapes(operation)
        if "error" in shape["properties"]
    }
    raised = {
        (str(kind.status), kind.error, kind.description)
        # Of no operation; the latter is for routes of one's own.
        for kind in leaves(errors.Refusal) - {MethodNotAllowed, errors.InvalidLogin}
    }
    assert described == raised


def test_every_answer_has_the_headers_that_it_has() -> None:
    common = {"Cache-Control", "X-Content-Type-Options", "X-Request-ID"}
    by_error = {(str(kind.status), kind.error): kind for kind in leaves(errors.Refusal)}
    for path, method, operation in OPERATIONS:
        for status, response, shape in shapes(operation):
            more = set(response["headers"]) - common
            if status in ("200", "201"):
                said = MANAGED.get(f"{method.upper()} {path}") or OURS[path]
                assert more == set(said.headers)
                continue
            kind = by_error[status, shape["properties"]["error"]["enum"][0]]
            expected = set(kind.headers)
            expected |= {"Retry-After"} if status == "429" else set()
            expected |= {"WWW-Authenticate"} if status == "403" else set()
            assert more == expected, (path, status)


def test_examples_are_what_the_schemas_say() -> None:
    for path, _, operation in OPERATIONS:
        for status, response in operation["responses"].items():
            content = response["content"]["application/json"]
            whole = {"$ref": "#/x", "x": content["schema"], "components": DOCUMENT["components"]}
            for example in content.get("examples", {}).values():
                OAS31Validator(whole).validate(example["value"])
            assert status in ("200", "201") or content["examples"], path


def test_not_found_is_told_where_there_may_be_nothing() -> None:
    told = {
        path
        for path, _, operation in OPERATIONS
        if "404" in operation["responses"] and "{" not in path
    }
    assert told == {"/.well-known/jwks.json", "/.well-known/oauth-authorization-server"}
    assert NotFound.status == 404


# Routes of one's own


class ReportPayload(Payload):
    title = fields.String(required=True)


class ReportAnswer(Schema):
    """A report is written."""

    title = fields.String(required=True)


class TooManyReports(errors.Refusal):
    """Enough."""

    status = 409
    error = "too_many_reports"
    description = "There are enough reports."


@describes(
    Description(
        ReportAnswer,
        takes=ReportPayload(),
        refuses=[TooManyReports],
        path={"id": "Of the report."},
    )
)
@requires_scope("reports:write")
async def write_report(request: Request) -> Answer:
    """Write a report.

    It is kept for a day.
    """
    return Answer({"title": "x"})


async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse("x")


def test_described_routes_of_ones_own_are_in_it() -> None:
    own = [
        Endpoint("/reports/{id:int}", write_report, "POST", "PUT"),
        Route("/plain", plain),
        Mount("/deep", routes=[Route("/plain", plain)]),
    ]
    document = build([*ROUTES, *own], "1")
    validate(document)
    assert set(document["paths"]) - set(DOCUMENT["paths"]) == {"/reports/{id}"}
    assert list(document["paths"])[-1] == "/reports/{id}"
    item = document["paths"]["/reports/{id}"]
    assert set(item) == {"post", "put"}
    post = item["post"]
    assert (post["summary"], post["description"]) == ("Write a report.", "It is kept for a day.")
    assert post["tags"] == ["yours"]
    parameter = {"name": "id", "in": "path", "description": "Of the report.", "required": True}
    assert post["parameters"] == [parameter | {"schema": {"type": "integer"}}]
    assert post["security"] == [{"bearer": ["reports:write"]}, {"oauth2": ["reports:write"]}]
    assert {"401", "403", "409", "413", "503"} <= set(post["responses"])
    assert post["requestBody"]["required"]


@pytest.mark.parametrize("path", ["/secure-data", "/me", "/verify"])
def test_a_protected_route_is_shown_as_one(path: str) -> None:
    for operation in DOCUMENT["paths"][path].values():
        assert operation["security"] == [{"bearer": []}, {"oauth2": []}]
        assert "401" in operation["responses"]


def test_each_scope_that_a_route_needs_is_one_of_the_scheme() -> None:
    flow = DOCUMENT["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]
    needed = {scope: says.rstrip(".").split(" ", 2)[2] for scope, says in flow["scopes"].items()}
    assert needed["revocations:read"] == "/revocations"
    assert needed["keys:self"] == "/me/keys, /me/keys/rotate, /me/keys/{key_id}"
    assert needed["admin:read"].split(", ") == [
        "/admin/clients",
        "/admin/clients/{client_id}",
        "/admin/clients/{client_id}/keys",
        "/admin/keys/{key_id}",
    ]
    assert set(needed) == {"revocations:read", "keys:self", "admin:read", "admin:write"}
