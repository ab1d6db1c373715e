"""The OpenAPI document as a person reads it: each operation with its fields, examples, refusals."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

Json = dict[str, Any]
PLACEHOLDERS = {
    "client_key": "$CLIENT_KEY",
    "refresh_token": "$REFRESH_TOKEN",
    "token": "$ACCESS_TOKEN",
    "grant_type": "client_credentials",
}


class Field(NamedTuple):
    """Of a path, a query, a body or an answer."""

    name: str
    kind: str
    is_required: bool
    says: str


class RefusalRow(NamedTuple):
    """One code that an operation may answer."""

    status: str
    error: str
    says: str


class Operation(NamedTuple):
    """`curl` is what to type, `example` what comes; the latter is empty where nothing does."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    takes: list[Field]
    answers: list[Field]
    curl: str
    example: str
    refusals: list[RefusalRow]


def read(document: Json, base_url: str) -> dict[str, list[Operation]]:
    """By tag, in the order of the document."""
    found: dict[str, list[Operation]] = {}
    reader = _Reader(document, base_url)
    for path, item in document["paths"].items():
        told = set()
        for method, said in item.items():
            if said["summary"] not in told:  # the same by another method
                told.add(said["summary"])
                operation = reader.operation(path, method.upper(), said)
                found.setdefault(said["tags"][0], []).append(operation)
    return found


class _Reader:
    def __init__(self, document: Json, base_url: str) -> None:
        self._document = document
        self._base_url = base_url

    def operation(self, path: str, method: str, said: Json) -> Operation:
        body = self._schema(said.get("requestBody", {}))
        answer = self._schema(said["responses"]["200"])
        parameters = [
            Field(
                each["name"],
                f"string, in the {each['in']}",
                each.get("required", False),
                each["description"],
            )
            for each in said.get("parameters", [])
        ]
        example = self._example(answer)
        return Operation(
            said["operationId"],
            method,
            path,
            said["summary"],
            said.get("description", ""),
            [*parameters, *self._fields(body)],
            [*self._headers(said["responses"]["200"]), *self._fields(answer)],
            self._curl(path, method, said, body),
            json.dumps(example, indent=2) if example else "",
            list(self._refusals(said)),
        )

    def _resolve(self, node: Json) -> Json:
        while "$ref" in node:
            name = node["$ref"].rsplit("/", 2)
            node = self._document["components"][name[1]][name[2]]
        return node

    def _schema(self, holder: Json) -> Json:
        content = holder.get("content", {}).get("application/json", {})
        return self._resolve(content.get("schema", {}))

    def _fields(self, schema: Json) -> list[Field]:
        required = schema.get("required", [])
        return [
            Field(name, _kind(self._resolve(each)), name in required, each.get("description", ""))
            for name, each in schema.get("properties", {}).items()
        ]

    def _headers(self, answer: Json) -> list[Field]:
        """Those of this answer alone."""
        return [
            Field(name, "header", True, each["description"])
            for name, each in answer.get("headers", {}).items()
            if "$ref" not in each
        ]

    def _example(self, schema: Json) -> Json:
        """Of what is always there."""
        required = schema.get("required", [])
        return {
            name: _example_of(self._resolve(each))
            for name, each in schema.get("properties", {}).items()
            if name in required
        }

    def _curl(self, path: str, method: str, said: Json, body: Json) -> str:
        schemes = {name for each in said["security"] for name in each}
        parts = ["curl", "-w", "'\\n'"]
        if method not in ("GET", "POST"):
            parts += ["-X", method]
        if "client" in schemes:
            parts += ["-u", '"$CLIENT_ID:$CLIENT_KEY"']
        if "bearer" in schemes:
            parts += ["-H", '"Authorization: Bearer $ACCESS_TOKEN"']
        if body and not body.get("required"):
            parts += ["-X", method]
        for name in body.get("required", []):
            parts += ["-d", f'"{name}={PLACEHOLDERS.get(name, name.upper())}"']
        path = re.sub(r"{(\w+)}", lambda name: name[1].upper(), path)
        return " ".join([*parts, shlex.quote(self._base_url + path)])

    def _refusals(self, said: Json) -> Iterator[RefusalRow]:
        for status, response in said["responses"].items():
            examples = response["content"]["application/json"].get("examples", {})
            for error, example in examples.items():
                yield RefusalRow(status, error, example["value"]["error_description"])


def _kind(schema: Json) -> str:
    if "enum" in schema:
        return "always " + json.dumps(schema["enum"][0]) if len(schema["enum"]) == 1 else "choice"
    kind = schema.get("type", "anything")
    return " or ".join(each for each in kind if each != "null") if isinstance(kind, list) else kind


def _example_of(schema: Json) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "array":
        return [_example_of(schema["items"])]
    if "examples" in schema:
        return schema["examples"][0]
    return {}
