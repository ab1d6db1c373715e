"""Whatever comes as a body is answered in the one shape, with no 5xx and no echo."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import fields
from starlette.testclient import TestClient

from app import create_app
from settings import load_settings
from tests.checks import assert_answer, assert_refused
from tests.conftest import SECRET, Clock
from tests.fuzz.budget import budget
from tests.inline import Client
from tests.serving import register

FIELDS = {"/login": "client_key", "/refresh-token": "refresh_token", "/logout": "access_token"}
OPTIONAL = ("everywhere", "scope", "verifiers")
PATHS = st.sampled_from(sorted(FIELDS))
JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
LIMIT = 16 * 1024
MARKER = "MaRkEr-7f3a"
"""Part of much that is sent, and of no answer and no line of a log."""
CODES = {
    400: {"invalid_request"},
    401: {"missing_token", "invalid_token", "invalid_client", "invalid_grant"},
    413: {"content_too_large"},
    415: {"unsupported_media_type"},
}
BAD = {"/login": "invalid_client", "/refresh-token": "invalid_grant", "/logout": "invalid_token"}


class Lines(logging.Handler):
    """Keeps what the service logs; what its caller logs is the caller's own."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx", "httpcore", "asyncio")):
            details = getattr(record, "details", "")
            self.text += f"{record.name} {record.getMessage()} {details} {record.exc_info}\n"


class Service:
    def __init__(self, api: TestClient, key: str, lines: Lines) -> None:
        self.api = api
        self.key = key
        self.lines = lines

    def right(self, path: str) -> str:
        """A value that the path takes; a token is taken only once."""
        if path == "/login":
            return self.key
        pair: dict[str, str] = assert_answer(
            self.api.post("/login", json={"client_key": self.key}), 200
        )
        return pair[FIELDS[path]]

    def send(self, path: str, content: bytes, content_type: str | None) -> Any:
        """The answer; a refusal is of the one shape. No 5xx, no echo, no traceback."""
        self.lines.text = ""
        headers: dict[bytes, bytes] = {}
        if content_type is not None:
            headers[b"Content-Type"] = content_type.encode("latin-1")
        response = self.api.post(path, content=content, headers=headers)
        status = response.status_code
        if status == 200:
            assert_answer(response, 200)
        else:
            assert status in CODES, f"{status} {response.text}"
            error = response.json()["error"]
            assert error in CODES[status]
            body = assert_refused(response, status, error, MARKER)
            assert set(body.get("fields", {})) <= {FIELDS[path], *OPTIONAL}
        assert MARKER not in str(response.headers)
        assert MARKER not in self.lines.text
        assert "Traceback" not in self.lines.text
        return response


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = load_settings(
        {
            "SECRET_KEY": SECRET,
            "DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('fuzzed')}/auth.db",
            "LOGIN_FAILURES_BY_ADDRESS": "1000000/second",
            "LOGIN_FAILURES_TOGETHER": "1000000/second",
            "REVOCATION_MAX_AGE_SECONDS": "60",
        }
    )
    (key,) = register(settings.database_url, "fuzzed")
    lines, root = Lines(), logging.getLogger()
    root.addHandler(lines)
    audit = logging.getLogger("auth.audit")
    level, audit.level = audit.level, logging.INFO
    app = create_app(settings, Clock())
    with Client(app, raise_server_exceptions=False) as api:
        yield Service(api, key, lines)
    audit.level = level
    root.removeHandler(lines)


# What is sent

MARKED = st.text(max_size=20).map(lambda text: text + MARKER) | st.just(MARKER)
TEXT = st.text() | MARKED
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
KNOWN = st.sampled_from([*FIELDS.values(), "everywhere"])
EVERYWHERE = st.sampled_from([True, False, "true", "no", 0, 1, 2, "", "TRUE", None, MARKER])
PAYLOADS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys([*FIELDS.values(), "everywhere"], JSON | TEXT | EVERYWHERE),
)
MEDIA_TYPES = st.sampled_from(
    [JSON_TYPE, FORM_TYPE, "multipart/form-data", f'multipart/form-data; boundary="{MARKER}"']
)
ODD_TYPES = st.one_of(
    st.none(),
    st.sampled_from(
        [
            "",
            ";",
            "text/plain",
            "application/json5",
            "application/json;charset=utf-16",
            "application/json, application/json",
            "application/x-www-form-urlencoded; charset=rot13",
            "multipart/form-data; boundary=",
            'multipart/form-data; boundary="',
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; charset=idna; boundary=a",
            "multipart/form-data; boundary*=utf-8''a",
            "multipart/mixed; boundary=a",
            MARKER,
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")),
    st.builds(
        "{}; {}".format,
        MEDIA_TYPES,
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100),
    ),
)
BYTES = st.binary() | st.binary().map(lambda content: content + MARKER.encode())


def expected_of(path: str, value: Any) -> int:
    """What a payload that could be read is answered; no text that is drawn opens anything."""
    if not isinstance(value, dict):
        return 400
    field = value.get(FIELDS[path], ...)
    if path == "/logout":
        everywhere = value.get("everywhere", False)
        try:
            is_told = everywhere in TOLD and everywhere is not None
        except TypeError:  # a list or a dict is in no set
            is_told = False
        return 401 if is_told and (field in (..., None) or isinstance(field, str)) else 400
    return 401 if isinstance(field, str) else 400


TOLD = {0, 1, *fields.Boolean.truthy, *fields.Boolean.falsy}


@budget(250)
@given(path=PATHS, value=PAYLOADS | JSON)
@example("/logout", {"access_token": None, "everywhere": 1.0})
@example("/logout", {"access_token": MARKER, "everywhere": [MARKER]})
@example("/login", {"client_key": {"client_key": MARKER}})
@example("/login", {"client_key": "\0"})
@example("/login", {MARKER: MARKER})
def test_any_json_is_answered_by_its_shape(service: Service, path: str, value: Any) -> None:
    content = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(content) <= LIMIT:
        assert service.send(path, content, JSON_TYPE).status_code == expected_of(path, value)


@budget(250)
@given(path=PATHS, content=BYTES, media_type=MEDIA_TYPES | ODD_TYPES)
@example("/login", b"[" * LIMIT, JSON_TYPE)
@example("/login", b'{"client_key":"' + b"a" * LIMIT + b'"}', JSON_TYPE)
@example("/login", b'{"client_key":NaN}', JSON_TYPE)
@example("/login", b'{"client_key":"\\ud800"}', JSON_TYPE)
@example("/login", b'{"client_key":1' + b"0" * 5000 + b"}", JSON_TYPE)
@example("/login", b"client_key=%ff%00%fe", FORM_TYPE)
@example("/login", b"=&&;=;&=", FORM_TYPE)
def test_any_bytes_are_refused(
    service: Service, path: str, content: bytes, media_type: str | None
) -> None:
    status = service.send(path, content, media_type).status_code
    assert status != 200
    known = (media_type or "").partition(";")[0].strip().lower()
    if content and known not in (JSON_TYPE, FORM_TYPE, "multipart/form-data"):
        assert status == 415


@budget(150)
@given(path=PATHS, value=PAYLOADS, data=st.data())
def test_spoilt_json_is_refused(
    service: Service, path: str, value: Any, data: st.DataObject
) -> None:
    """A body that was almost right."""
    content = bytearray(json.dumps(value).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1)) if content else 0
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    assert service.send(path, bytes(content), JSON_TYPE).status_code in (400, 401)


@budget(150)
@given(path=PATHS, size=st.integers(LIMIT - 3, LIMIT + 3), known=st.booleans(), form=st.booleans())
def test_a_body_over_the_limit_is_refused_and_up_to_it_is_read(
    service: Service, path: str, size: int, known: bool, form: bool
) -> None:
    name = FIELDS[path] if known else MARKER
    begin, end = (f"{name}=".encode(), b"") if form else (f'{{"{name}":"'.encode(), b'"}')
    content = begin + b"a" * (size - len(begin) - len(end)) + end
    status = service.send(path, content, FORM_TYPE if form else JSON_TYPE).status_code
    assert status == (413 if size > LIMIT else 401 if known or path == "/logout" else 400)


# Forms


def multipart(boundary: str, parts: list[tuple[str, bytes]]) -> bytes:
    content = b"".join(
        b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary.encode("latin-1"), head.encode(), value)
        for head, value in parts
    )
    return content + b"--%b--\r\n" % boundary.encode("latin-1")


NAMES = KNOWN | TEXT
BOUNDARIES = st.text(
    st.characters(min_codepoint=32, max_codepoint=255), max_size=80
) | MARKED.filter(lambda text: text.isascii() and text.isprintable())
HEADS = st.one_of(
    NAMES.map('Content-Disposition: form-data; name="{}"'.format),
    NAMES.map('Content-Disposition: form-data; name="a"; filename="{}"'.format),
    NAMES.map("Content-Disposition: {}".format),
    KNOWN.map('content-disposition:form-data;name="{}"\r\nContent-Type: x/y; charset=hex'.format),
    TEXT,
)


@budget(200)
@given(path=PATHS, parts=st.lists(st.tuples(HEADS, BYTES), max_size=25), boundary=BOUNDARIES)
def test_any_multipart_form_is_refused(
    service: Service, path: str, parts: list[tuple[str, bytes]], boundary: str
) -> None:
    content = multipart(boundary, [(head.replace("\ud800", ""), value) for head, value in parts])
    response = service.send(path, content, f'multipart/form-data; boundary="{boundary}"')
    assert response.status_code in (400, 401, 413)


@budget(200)
@given(
    path=PATHS,
    pairs=st.lists(st.tuples(NAMES | st.binary(), TEXT | st.binary()), max_size=25),
    glue=st.sampled_from(["&", "&", ";", "&&", "\n"]),
)
def test_any_urlencoded_form_is_refused(
    service: Service, path: str, pairs: list[tuple[Any, Any]], glue: str
) -> None:
    def spell(part: str | bytes) -> bytes:
        return part if isinstance(part, bytes) else part.encode()

    content = glue.encode().join(b"%b=%b" % (spell(name), spell(value)) for name, value in pairs)
    assert service.send(path, content, FORM_TYPE).status_code in (400, 401, 413)


# Odd, but legal: what every reader of the RFCs has to take

UNKNOWN = TEXT.filter(lambda name: name not in [*FIELDS.values(), *OPTIONAL])
SPACES = st.text(" \t\r\n", max_size=3)
JSON_TYPES = st.sampled_from(
    [JSON_TYPE, "Application/JSON", "application/json; charset=utf-8", " application/json ;a=b"]
)
Spell = Callable[[str], str]


@st.composite
def json_bodies(draw: st.DrawFn, field: str, value: str) -> bytes:
    """Any white space, any escapes, unknown fields of any content around it."""

    def spell(text: str) -> str:
        escaped = draw(st.sets(st.integers(0, len(text)), max_size=8))
        return '"{}"'.format(
            "".join(f"\\u{ord(c):04x}" if at in escaped else c for at, c in enumerate(text))
        )

    others = draw(st.dictionaries(UNKNOWN, JSON, max_size=3))
    members = [f"{json.dumps(name)}:{json.dumps(other)}" for name, other in others.items()]
    right = f"{spell(field)}{draw(SPACES)}:{draw(SPACES)}{spell(value)}"
    members.insert(draw(st.integers(0, len(members))), right)
    glue = f"{draw(SPACES)},{draw(SPACES)}"
    return f"{draw(SPACES)}{{{glue.join(members)}}}{draw(SPACES)}".encode()


@st.composite
def urlencoded_bodies(draw: st.DrawFn, field: str, value: str) -> bytes:
    """Any character may be percent-encoded, in either case of the digits."""

    def spell(text: str) -> str:
        escaped = draw(st.sets(st.integers(0, len(text)), max_size=8))
        digits = draw(st.sampled_from(["%{:02x}", "%{:02X}"]))
        return "".join(
            "".join(map(digits.format, c.encode())) if at in escaped or not c.isalnum() else c
            for at, c in enumerate(text)
        )

    others = draw(st.dictionaries(UNKNOWN.filter(bool), TEXT, max_size=3))
    pairs = [f"{spell(name)}={spell(other)}" for name, other in others.items()]
    pairs.insert(draw(st.integers(0, len(pairs))), f"{spell(field)}={spell(value)}")
    return "&".join(pairs).encode()


BCHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'()+_,-./:=?"
LEGAL_BOUNDARIES = st.text(BCHARS, min_size=1, max_size=70)  # RFC 2046, 5.1.1


@st.composite
def multipart_bodies(draw: st.DrawFn, field: str, value: str, boundary: str) -> bytes:
    """Header names in any case, more headers of a part, unknown parts around it."""
    name = draw(st.sampled_from(["Content-Disposition", "content-disposition"]))
    more = draw(st.sampled_from(["", "\r\nContent-Type: text/plain; charset=utf-8"]))
    safe = st.text(st.characters(min_codepoint=48, max_codepoint=122), min_size=1).filter(
        lambda text: "\\" not in text
    )
    others = draw(st.sets(safe.filter(lambda text: text not in [*FIELDS.values(), *OPTIONAL])))
    parts = [(f'{name}: form-data; name="{other}"', MARKER.encode()) for other in sorted(others)]
    right = (f'{name}: form-data; name="{field}"{more}', value.encode())
    parts = parts[:18]
    parts.insert(draw(st.integers(0, len(parts))), right)
    return multipart(boundary, parts)


@budget(60)
@given(path=PATHS, media_type=JSON_TYPES, data=st.data())
def test_a_right_value_in_any_legal_json_is_taken(
    service: Service, path: str, media_type: str, data: st.DataObject
) -> None:
    content = data.draw(json_bodies(FIELDS[path], service.right(path)))
    if len(content) <= LIMIT:
        assert service.send(path, content, media_type).status_code == 200, content


@budget(60)
@given(
    path=PATHS, charset=st.sampled_from(["", "; charset=utf-8", ";charset=UTF-8"]), data=st.data()
)
def test_a_right_value_in_any_legal_urlencoded_form_is_taken(
    service: Service, path: str, charset: str, data: st.DataObject
) -> None:
    content = data.draw(urlencoded_bodies(FIELDS[path], service.right(path)))
    assert service.send(path, content, FORM_TYPE + charset).status_code == 200, content


@budget(60)
@given(path=PATHS, boundary=LEGAL_BOUNDARIES, data=st.data())
@example("/login", "--", None)
@example("/login", "'" * 70, None)
def test_a_right_value_in_any_legal_multipart_form_is_taken(
    service: Service, path: str, boundary: str, data: st.DataObject | None
) -> None:
    field, value = FIELDS[path], service.right(path)
    content = (
        data.draw(multipart_bodies(field, value, boundary))
        if data
        else multipart(
            boundary, [(f'Content-Disposition: form-data; name="{field}"', value.encode())]
        )
    )
    media_type = f'Multipart/Form-Data; boundary="{boundary}"'
    assert service.send(path, content, media_type).status_code == 200, content
