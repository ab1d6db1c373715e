"""A body is read as two parsers read it together: what only one of them accepts is refused."""

import json
from collections.abc import Callable

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authapi.errors import InvalidRequest
from authapi.web.bodies import parse_json
from tests.fuzz.budget import budget

pytestmark = pytest.mark.usefixtures("unwatched")

NAMES = st.sampled_from(["a", "b", "", "a b", 'a"', "\\", "\\u0061", "é"])
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | NAMES
VALUES = st.recursive(
    SCALARS,
    lambda values: st.lists(values, max_size=2) | st.dictionaries(NAMES, values, max_size=2),
    max_leaves=4,
)
GAPS = st.sampled_from(["", " ", "\n\t"])
SYNTAX = st.text(st.sampled_from('{}[]":,\\au0d81 ')).map(str.encode)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """Of names that come again, and values of any kind or of texts alone."""
    values = draw(st.sampled_from([VALUES, NAMES]))
    pairs = draw(st.lists(st.tuples(NAMES, values), max_size=4))
    plainly = draw(st.booleans())
    gap = draw(GAPS)
    members = [
        f"{gap}{json.dumps(name, ensure_ascii=plainly)}{gap}:{json.dumps(value)}{gap}"
        for name, value in pairs
    ]
    return f"{{{gap if not members else ','.join(members)}}}".encode()


def by_both(body: bytes) -> object:
    """Raises `ValueError` for what either of them refuses, and for a repeated name."""

    def without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a repeated name")
        return dict(pairs)

    orjson.loads(body)
    return json.loads(body.decode(), object_pairs_hook=without_repeats)


def outcome(parse: Callable[[bytes], object], body: bytes) -> str:
    """As a text, in which 1, 1.0 and True differ."""
    try:
        return repr(parse(body))
    except (ValueError, RecursionError, InvalidRequest):
        return "refused"


@budget(2_000)
@given(objects() | SYNTAX)
@example(b'{"a":"b","a":"b"}')
@example(b'{"a":1,"a":"b"}')
@example(b'{"a":"","\\u0061":""}')
@example(b'{"a":{"b":"c"}}')
@example(b'{"a":"\\ud800"}')
@example(b'{"a":123456789012345678901234567890}')
def test_one_parser_alone_is_believed_where_both_agree(body: bytes) -> None:
    assert outcome(parse_json, body) == outcome(by_both, body)
