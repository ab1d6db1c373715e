"""No token but one of ours is taken, whatever is done to ours; in-process, without HTTP."""

import json
import re
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auth_backend import extract_bearer
from authapi.credentials.claims import Claims
from authapi.credentials.tokens import ACCESS, REFRESH, Tokens
from authapi.errors import InvalidRequest, InvalidToken
from tests import forge
from tests.conftest import DATABASE_ID, NOW, SECRET
from tests.fuzz import mutations
from tests.fuzz.budget import budget
from tests.fuzz.mutations import FALLBACK, MUTATIONS, Mutation

TOKENS = mutations.new_tokens()
REAL = mutations.real_tokens(TOKENS)
ORIGINALS = sorted(REAL)
KINDS = st.sampled_from([ACCESS, REFRESH])


def outcome(judge: Any, typ: str, token: str) -> Claims | None:
    """What is read, or None for the one refusal; anything else that is raised is a fault."""
    try:
        claims: Claims = judge(typ, token)
    except InvalidToken:
        return None
    return claims


def judged(token: str) -> dict[tuple[str, str], Claims | None]:
    return {
        (name, typ): outcome(judge, typ, token)
        for name, judge in (("verify", TOKENS.verify), ("read", TOKENS.read))
        for typ in (ACCESS, REFRESH)
    }


def expected(token: str) -> dict[tuple[str, str], Claims | None]:
    """An untouched token says what it said, as its own kind; nothing else says anything."""
    kind, claims = REAL.get(token, ("", None))
    return {
        (name, typ): claims if typ == kind else None
        for name in ("verify", "read")
        for typ in (ACCESS, REFRESH)
    }


@pytest.mark.parametrize("token", ORIGINALS)
def test_an_untouched_token_is_taken_as_its_own_kind_only(token: str) -> None:
    assert judged(token) == expected(token)
    assert any(judged(token).values())


@pytest.mark.parametrize("spoil", MUTATIONS, ids=lambda spoil: spoil.__name__)
@budget(40)
@given(data=st.data())
def test_a_mutated_token_is_refused(spoil: Mutation, data: st.DataObject) -> None:
    random = data.draw(st.randoms(use_true_random=False))
    token = spoil(random, data.draw(st.sampled_from(ORIGINALS)), ORIGINALS)
    assert judged(token) == expected(token)


@budget(400)
@given(token=st.text(), glue=st.sampled_from(["", "."]), real=st.sampled_from(ORIGINALS))
def test_any_text_is_refused_alone_and_beside_a_token(token: str, glue: str, real: str) -> None:
    for text in (token, f"{token}{glue}{real}", f"{real}{glue}{token}"):
        assert judged(text) == expected(text)


@pytest.mark.parametrize("at", range(3))
@budget(200)
@given(segment=st.text() | st.binary().map(forge.encode), real=st.sampled_from(ORIGINALS))
def test_any_other_segment_is_refused(at: int, segment: str, real: str) -> None:
    segments = real.split(".")
    segments[at] = segment
    token = ".".join(segments)
    assert judged(token) == expected(token)


@pytest.mark.parametrize("token", ORIGINALS[::4])
def test_a_token_that_is_cut_anywhere_is_refused(token: str) -> None:
    for at in range(len(token)):
        assert not any(judged(token[:at]).values()), at
        assert not any(judged(token[at + 1 :]).values()), at


@pytest.mark.parametrize("token", ORIGINALS[::4])
def test_a_token_with_any_one_bit_flipped_is_refused(token: str) -> None:
    for at, character in enumerate(token):
        for bit in range(7):
            flipped = token[:at] + chr(ord(character) ^ 1 << bit) + token[at + 1 :]
            assert not any(judged(flipped).values()), (at, bit)


# Whoever holds the secret may sign anything. What is taken is to the letter what we issue.

TIMES = st.sampled_from([0, 1, -1, int(NOW), int(NOW) + 900, int(NOW) + 10**6, 2**53, 2**63, 2**70])
NUMBERS = TIMES | st.integers() | st.floats() | st.booleans()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
GOOD_CLAIMS = st.fixed_dictionaries(
    {
        "iss": st.just("auth-api"),
        "aud": st.just("auth-api"),
        "sub": st.text(),
        "sid": st.text(),
        "jti": st.text(),
        "key_id": st.text(),
        "scope": st.text(),
        "era": st.integers(0, 2**53 - 1) | st.floats(0, 2**53, exclude_max=True),
        "iat": st.integers(int(NOW) - 1000, int(NOW) + 100),
        "exp": st.integers(int(NOW) - 1000, int(NOW) + 10**6),
    }
)


@st.composite
def claims(draw: st.DrawFn) -> dict[str, Any]:
    """Good ones, of which any is changed, left out or added, in any order."""
    changed: dict[str, Any] = draw(GOOD_CLAIMS)
    for name in draw(st.lists(st.sampled_from([*changed, "nbf", "ISS"]), max_size=2)):
        changed[name] = draw(NUMBERS | JSON)
    for name in draw(st.lists(st.sampled_from(list(changed)), max_size=1)):
        del changed[name]
    if draw(st.integers(0, 9)) == 0:
        return dict(draw(st.permutations(list(changed.items()))))
    return changed


def signed(typ: str, content: bytes, secret: str = SECRET) -> str:
    return forge.sign(f"{forge.segment(forge.header(typ, secret))}.{forge.encode(content)}", secret)


def assert_refused_or_our_own(typ: str, token: str, secret: str = SECRET) -> bool:
    """Tells whether it was taken."""
    read = outcome(TOKENS.read, typ, token)
    verified = outcome(TOKENS.verify, typ, token)
    if read is not None:
        ours = Tokens([secret], "auth-api", "auth-api", 900, 604_800, 10)
        ours.serve(DATABASE_ID)
        assert ours.issue(typ, read) == token
        for name in ("iat", "exp", "era"):
            assert type(getattr(read, name)) in (int, float)
            assert 0 <= getattr(read, name) < 2**53
    is_in_time = read is not None and (
        read.exp > NOW - 10
        and read.iat <= NOW + 10
        and read.exp - read.iat <= (900 if typ == ACCESS else 604_800)
    )
    assert verified == (read if is_in_time else None)
    return read is not None


@budget(600)
@given(typ=KINDS, claims=claims(), secret=st.sampled_from([SECRET, FALLBACK]), ascii=st.booleans())
@example(ACCESS, forge.ACCESS_CLAIMS, SECRET, True)
@example(ACCESS, forge.ACCESS_CLAIMS | {"era": -0.0}, SECRET, True)
@example(ACCESS, forge.ACCESS_CLAIMS | {"sub": "\ud800"}, SECRET, True)
@example(ACCESS, forge.ACCESS_CLAIMS | {"era": 1e400}, SECRET, True)
def test_signed_claims_are_refused_or_just_what_we_issue(
    typ: str, claims: dict[str, Any], secret: str, ascii: bool
) -> None:
    text = json.dumps(claims, separators=(",", ":"), ensure_ascii=ascii)
    token = signed(typ, text.encode("utf-8", "surrogatepass"), secret)
    is_taken = assert_refused_or_our_own(typ, token, secret)
    if list(claims) != list(forge.claims_for(typ)):
        assert not is_taken


@budget(300)
@given(typ=KINDS, claims=GOOD_CLAIMS)
def test_good_claims_that_are_signed_are_taken(typ: str, claims: dict[str, Any]) -> None:
    """Else the rule above would hold of a service that refuses everything."""
    ours = Claims(
        **{name: (claims | {"database_id": DATABASE_ID})[name] for name in Claims._fields}
    )
    token = TOKENS.issue(typ, ours)
    if len(token) <= 4096 and claims["iat"] < claims["exp"]:
        assert outcome(TOKENS.read, typ, token) == ours
    assert_refused_or_our_own(typ, token)


@budget(300)
@given(typ=KINDS, content=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(ACCESS, b"[" * 3000)
@example(ACCESS, b'{"a":' * 600)
@example(ACCESS, b"")
def test_any_signed_bytes_are_refused(typ: str, content: bytes) -> None:
    assert not assert_refused_or_our_own(typ, signed(typ, content))


@budget(300)
@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "zip"]) | st.text(),
        st.sampled_from(["HS256", "none", "at+jwt", "rt+jwt", "JWT", forge.kid(SECRET)]) | JSON,
    )
)
def test_a_signed_token_with_any_other_header_is_refused(header: dict[str, Any]) -> None:
    """Also ours in another order: only the segment that we write is known."""
    token = forge.sign(f"{forge.segment(header)}.{forge.segment(forge.ACCESS_CLAIMS)}")
    is_ours = forge.segment(header) == forge.segment(forge.header())
    assert (outcome(TOKENS.verify, ACCESS, token) is not None) == is_ours


# The header


BEARER = re.compile(r"bearer(?: (.*))?", re.IGNORECASE | re.ASCII | re.DOTALL)
HEADERS = st.one_of(
    st.text(),
    st.text(st.characters(max_codepoint=255)),
    st.tuples(
        st.sampled_from(["Bearer", "bearer", "BEARER", "Basic", "Bearer:", "Bearerx", ""]),
        st.sampled_from([" ", "  ", "\t", ",", "\xa0", ""]),
        st.text() | st.sampled_from(ORIGINALS),
    ).map("".join),
)


@budget(500)
@given(values=st.lists(HEADERS, max_size=3))
@example(["Bearer"])
@example(["Bearer "])
@example(["Bearer a b"])
def test_the_bearer_is_what_stands_in_the_one_header(values: list[str]) -> None:
    headers = [(b"authorization", value.encode()) for value in values]
    values = [value.encode().decode("latin-1") for value in values]
    if len(values) > 1:
        with pytest.raises(InvalidRequest):
            extract_bearer(headers)
    elif values and (match := BEARER.fullmatch(values[0])):
        assert extract_bearer(headers) == (match[1] or "").strip(" ")
    else:
        assert extract_bearer(headers) is None


# The loop of `make fuzz`, for a second


def test_no_mutated_token_is_taken_in_a_fast_loop() -> None:
    count = mutations.run(20_000, seed=1)
    assert (count.accepted, count.faults, count.refused) == ([], [], 20_000)


def test_the_loop_goes_every_way() -> None:
    """A mutation that mostly gives back what it got would try nothing."""
    random = Random(1)
    for spoil in MUTATIONS:
        spoilt = {spoil(random, ORIGINALS[0], ORIGINALS) for _ in range(200)} - set(ORIGINALS)
        assert spoilt, spoil.__name__


def test_the_loop_would_tell_of_a_token_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def take_padding(self: Tokens, typ: str, token: str) -> Claims:
        if "=" in token:
            raise KeyError(token)
        return REAL[ORIGINALS[0]][1]

    monkeypatch.setattr(Tokens, "verify", take_padding)
    count = mutations.run(500, seed=1)
    assert count.accepted
    assert count.faults
    assert count.refused < 500
