"""Whatever body a stranger sends, the answer is one clear refusal that repeats nothing of it."""

import asyncio
import gzip
from typing import Any

import pytest
from marshmallow import ValidationError, fields, validates_schema
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from authapi.errors import InvalidRequest
from authapi.web.bodies import read_payload
from authapi.web.schemas import LOGIN, Payload
from tests.checks import assert_answer, assert_refused
from tests.conftest import Registered, Shared


@pytest.fixture
def api(shared: Shared) -> TestClient:
    return shared.api


@pytest.fixture
def registered(shared: Shared) -> Registered:
    return shared.registered


PATHS = ["/login", "/refresh-token", "/logout"]
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"
KEY = "client_key"


def part(name: str, value: str, more: str = "") -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n'.encode()


UNREADABLE = {
    "truncated JSON": (JSON, b'{"client_key": "ec'),
    "no JSON": (JSON, b"client_key=echo"),
    "blank": (JSON, b" "),
    "100,000 brackets do not fit": (JSON, b"[" * 16_000),
    "nested objects": (JSON, b'{"a":' * 3_000),
    "closed brackets": (JSON, b"[" * 8_000 + b"]" * 8_000),
    "not UTF-8": (JSON, b'{"client_key": "\xff"}'),
    "UTF-16": (JSON, '{"client_key": "echo"}'.encode("utf-16")),
    "UTF-32": (JSON, '{"client_key": "echo"}'.encode("utf-32")),
    "a byte order mark": (JSON, b'\xef\xbb\xbf{"client_key": "echo"}'),
    "a repeated name": (JSON, b'{"client_key": "echo", "client_key": "echo"}'),
    "NaN": (JSON, b'{"client_key": NaN}'),
    "Infinity": (JSON, b'{"client_key": Infinity}'),
    "a lone surrogate": (JSON, b'{"client_key": "\\ud800"}'),
    "a raw NUL": (JSON, b'{"client_key": "\0"}'),
    "an array": (JSON, b'["echo"]'),
    "a string": (JSON, b'"echo"'),
    "a number": (JSON, b"1"),
    "null": (JSON, b"null"),
    "true": (JSON, b"true"),
    "two documents": (JSON, b"{}{}"),
    "a trailing comma": (JSON, b'{"client_key": "echo",}'),
    "single quotes": (JSON, b"{'client_key': 'echo'}"),
    "a comment": (JSON, b'{"client_key": "echo"} // no'),
    "a repeated parameter": (FORM, b"client_key=echo&client_key=echo"),
    "too many parameters": (FORM, b"&".join(b"a%d=1" % i for i in range(21))),
    "no boundary": ("multipart/form-data", part(KEY, "echo") + b"--x--"),
    "another boundary": ("multipart/form-data; boundary=y", part(KEY, "echo") + b"--x--"),
    "an empty boundary": ("multipart/form-data; boundary=", part(KEY, "echo") + b"--x--"),
    "no part": (MULTIPART, b"echo"),
    "a truncated part": (MULTIPART, part(KEY, "echo")[:30]),
    "no closing boundary": (MULTIPART, part(KEY, "echo")),
    "a part that breaks off as if at its end": (MULTIPART, part(KEY, "echo--")[:-2]),
    "a part without a name": (MULTIPART, b"--x\r\n\r\necho\r\n--x--"),
    "a file": (MULTIPART, part(KEY, "echo", '; filename="echo"') + b"--x--"),
    "a repeated part": (MULTIPART, part(KEY, "echo") * 2 + b"--x--"),
    "too many parts": (MULTIPART, b"".join(part(f"a{i}", "1") for i in range(21)) + b"--x--"),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fault", UNREADABLE)
def test_an_unreadable_body_is_an_invalid_request(api: TestClient, path: str, fault: str) -> None:
    media_type, content = UNREADABLE[fault]
    response = api.post(path, content=content, headers={"Content-Type": media_type})
    body = assert_refused(response, 400, "invalid_request", "echo")
    assert "fields" not in body


WRONG: tuple[Any, ...] = (None, True, 1, 1.5, [], ["echo"], {}, {"echo": "echo"})
NO_BOOLEAN: tuple[Any, ...] = ("echo", [], {}, 2, None)


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        *[("/login", KEY, value) for value in WRONG],
        *[("/refresh-token", "refresh_token", value) for value in WRONG],
        *[("/logout", "access_token", value) for value in WRONG if value is not None],
        *[("/logout", "everywhere", value) for value in NO_BOOLEAN],
    ],
)
def test_a_wrong_type_is_named_with_its_field(
    api: TestClient, path: str, field: str, value: Any
) -> None:
    body = assert_refused(api.post(path, json={field: value}), 400, "invalid_request", "echo")
    assert list(body["fields"]) == [field]


@pytest.mark.parametrize(("path", "field"), [("/login", KEY), ("/refresh-token", "refresh_token")])
@pytest.mark.parametrize(
    "body", [{}, {"content": b"{}"}, {"json": {"echo": "echo"}}, {"data": {"echo": "echo"}}]
)
def test_a_missing_field_is_named(
    api: TestClient, path: str, field: str, body: dict[str, Any]
) -> None:
    headers = {"Content-Type": JSON} if "content" in body else {}
    response = api.post(path, headers=headers, **body)
    assert assert_refused(response, 400, "invalid_request", "echo")["fields"] == {
        field: ["Missing data for required field."]
    }


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "media_type", ["text/plain", "", "application/xml", "application/jsonp", "x"]
)
def test_another_media_type_is_unsupported(api: TestClient, path: str, media_type: str) -> None:
    response = api.post(path, content=b'{"echo": 1}', headers={"Content-Type": media_type})
    assert_refused(response, 415, "unsupported_media_type", "echo")


def test_a_body_without_a_media_type_is_unsupported(api: TestClient) -> None:
    assert_refused(api.post("/login", content=b"{}"), 415, "unsupported_media_type")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [16 * 1024 + 1, 10_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_16_kib_is_too_large(
    api: TestClient, path: str, size: int, chunked: bool
) -> None:
    content: Any = (b"x" * 1000 for _ in range(size // 1000 + 1)) if chunked else b"x" * size
    response = api.post(path, content=content, headers={"Content-Type": JSON})
    assert_refused(response, 413, "content_too_large")


def test_a_body_of_16_kib_is_read(api: TestClient, registered: Registered) -> None:
    content = b'{"client_key": "%s"}' % registered.key.encode()
    content += b" " * (16 * 1024 - len(content))
    headers = {"Content-Type": JSON}
    assert_answer(api.post("/login", content=content, headers=headers), 200)


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "APPLICATION/JSON ;x=y"])
def test_parameters_and_case_of_a_media_type_do_not_matter(
    api: TestClient, registered: Registered, media_type: str
) -> None:
    content = b'{"client_key": "%s", "unknown": {"ignored": true}}' % registered.key.encode()
    headers = {"Content-Type": media_type}
    assert_answer(api.post("/login", content=content, headers=headers), 200)


CHARSETS = ["utf-7", "nonsense", '"', "\xff", "undefined", "punycode", "idna", "zlib", "a\0b"]


@pytest.mark.parametrize("charset", CHARSETS)
def test_a_charset_in_a_form_does_no_harm(
    api: TestClient, registered: Registered, charset: str
) -> None:
    content = part(KEY, registered.key) + b"--x--"
    headers = [(b"Content-Type", f"{MULTIPART}; charset={charset}".encode("latin-1"))]
    assert api.post("/login", content=content, headers=headers).status_code in (200, 400, 401)


class Interval(Payload):
    first = fields.Integer(required=True)
    last = fields.Integer(required=True)

    @validates_schema
    def in_order(self, sent: dict[str, int], **kwargs: object) -> None:
        if sent["first"] > sent["last"]:
            raise ValidationError("ends before it begins", "last")


def test_a_schema_of_ones_own_keeps_its_validators() -> None:
    assert Interval().read({"first": 1, "last": 2}) == {"first": 1, "last": 2}
    with pytest.raises(ValidationError, match="ends before it begins"):
        Interval().read({"first": 2, "last": 1})


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "gzip, identity", "x"])
@pytest.mark.parametrize("is_packed", [True, False])
def test_a_compressed_body_is_refused_as_such_and_so_is_what_is_said_to_be_one(
    api: TestClient, coding: str, is_packed: bool
) -> None:
    body = b'{"client_key": "x"}'
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    content = gzip.compress(body) if is_packed else body
    response = api.post("/login", content=content, headers=headers)
    assert_refused(response, 415, "unsupported_media_type")
    assert response.headers["Accept-Encoding"] == "identity"
    headers["Content-Encoding"] = "identity"
    assert_refused(api.post("/login", content=body, headers=headers), 401, "invalid_client")


def test_a_body_that_breaks_off_is_refused() -> None:
    """By one who hangs up, and reads no answer; the service goes on."""
    messages: list[Message] = [
        {"type": "http.request", "body": b"client_", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    headers = [(b"content-type", FORM.encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with pytest.raises(InvalidRequest, match="breaks off"):
        asyncio.run(read_payload(request, LOGIN))
