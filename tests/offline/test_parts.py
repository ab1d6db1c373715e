"""The parts of the Python verifier alone, at times that the test chooses."""

import math
from typing import Any

import pytest
from auth_api_verifier import Claims, Refused, Unavailable, Verifier, bearer_token
from auth_api_verifier.revocations import Answer, Revocations
from auth_api_verifier.tokens import MAX_REMEMBERED, Reader

from authapi.credentials import signing_keys
from authapi.credentials.tokens import ACCESS, Tokens
from authapi.errors import InvalidToken
from tests import signing
from tests.attacks.recipes import Json, load
from tests.conftest import DATABASE_ID, NOW, Clock
from tests.offline import forging
from tests.offline.feed import kid_of

BODY: dict[str, Any] = {
    "revoked": {"session-1": NOW},
    "keys": ["es"],
    "purged_until": 0,
    "cursor": "0123-run.1",
    "keep": 970,
    "lease": 1.5,
    "fresh_for": 2.11,
}
SHOWN = [case for case in load("tokens.json") if forging.opening(case)]
CLAIMS = Claims("client", "sid", "jti", "key", "", NOW, int(NOW), int(NOW) + 900, "es")


def jwks(*keys: signing.Key) -> dict[str, Any]:
    return {"keys": [key.public | {"kid": kid_of(key)} for key in keys]}


# Tokens


@pytest.fixture
def reader() -> Reader:
    reader = Reader(("ES256",), "auth-api", "auth-api")
    reader.load(jwks(forging.CURRENT, forging.PREVIOUS))
    return reader


@pytest.fixture(scope="module")
def service() -> Tokens:
    """The service's own judge of tokens, with the same keys."""
    clock = Clock()
    tokens = Tokens([], "auth-api", "auth-api", 10**9, 10**9, 10**9, clock)
    tokens.use([signing_keys.from_jwk(key.jwk) for key in (forging.CURRENT, forging.PREVIOUS)])
    tokens.serve(DATABASE_ID)
    return tokens


@pytest.mark.parametrize(
    "case",
    [case for case in load("tokens.json") if forging.opening(case)],
    ids=lambda each: each["id"],
)
def test_a_token_is_read_to_the_letter_as_the_service_reads_it(
    reader: Reader, service: Tokens, case: Json
) -> None:
    """The times apart, which are judged when it is shown."""
    case = {"id": case["id"], "input": case["input"] | {"send": {"headers": [["A", "${token}"]]}}}
    request = forging.forge(forging.PublicKeyForger(NOW, ""), case)
    token = request.headers[0][1].decode("latin-1")
    try:
        wanted = service.read(ACCESS, token)
    except InvalidToken:
        with pytest.raises(Refused):
            reader.read(token)
    else:
        assert reader.read(token)[:-1] == wanted[:-1]


def test_so_many_tokens_are_remembered_until_other_keys_are_loaded(reader: Reader) -> None:
    token = signing.token(forging.CURRENT)
    assert reader.read(token) is reader.read(token)
    assert reader.read.cache_info().maxsize == MAX_REMEMBERED == 10_000
    reader.load(jwks(forging.UNKNOWN))
    with pytest.raises(Refused):
        reader.read(token)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {"keys": [{}]},
        {"keys": [{"kid": "a", "alg": "ES256"}]},
        {"keys": [signing.RS256().public | {"alg": "ES256"}]},
        {"keys": [forging.CURRENT.public | {"x": "AA"}]},
    ],
    ids=["null", "list", "empty", "no-point", "rsa", "other-point"],
)
def test_a_wrong_jwk_set_changes_nothing(reader: Reader, wrong: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever was wrong
        reader.load(wrong)
    assert reader.read(signing.token(forging.CURRENT)).sub == "client-1"


def test_a_header_holds_a_token_or_none() -> None:
    assert bearer_token("bearer  a ") == "a"
    assert bearer_token("Bearer") == ""
    assert bearer_token("Basic a") is None
    assert bearer_token(None) is None


# Answers


@pytest.mark.parametrize(
    "change",
    [
        *({name: "1"} for name in BODY if name != "cursor"),
        *({name: None} for name in BODY if name != "fresh_for"),
        {"revoked": {"a": True}},
        {"revoked": {"a": math.nan}},
        {"revoked": {"a": "1"}},
        {"purged_until": math.inf},
        {"keep": 0},
        {"lease": -1},
        {"keys": [1]},
        {"cursor": "a b"},
        {"cursor": "a" * 251},
        {"fresh_for": math.inf},
        {"fresh_for": True},
    ],
    ids=str,
)
def test_what_is_no_answer_is_told_from_one(change: dict[str, Any]) -> None:
    assert Answer.parse(BODY).fresh_for == 2.11
    with pytest.raises(ValueError, match="no answer of the feed"):
        Answer.parse(BODY | change)


def held(**changes: Any) -> Revocations:
    revocations = Revocations()
    revocations.merge(Answer.parse(BODY | changes), wall=NOW, steady=0)
    return revocations


@pytest.mark.parametrize(
    ("wall", "steady", "entries"),
    [(NOW + 969, 971, 1), (NOW + 971, 969, 1), (NOW + 970, 970, 0)],
    ids=["wall", "steady", "both"],
)
def test_an_entry_is_forgotten_when_both_clocks_say_so(
    wall: float, steady: float, entries: int
) -> None:
    revocations = held()
    revocations.merge(Answer.parse(BODY | {"revoked": {}}), wall, steady)
    assert len(revocations.entries) == entries
    assert revocations.purged_until == (0 if entries else NOW + 970)


def test_a_time_never_becomes_an_earlier_one() -> None:
    revocations = held(revoked={"client": NOW + 5})
    revocations.merge(Answer.parse(BODY | {"revoked": {"client": NOW - 5}}), NOW, 1)
    with pytest.raises(Refused):
        revocations.check(CLAIMS)
    revocations.believe_until(5)
    revocations.believe_until(4)
    assert revocations.good_until == 5


def test_what_ends_nothing_and_changes_no_key_tells_nothing() -> None:
    """After such an answer the verifier does not ask again at once."""
    revocations = held()
    changes: list[dict[str, Any]] = [
        {"revoked": {}},
        {"revoked": {}, "cursor": "another", "purged_until": 1},
        {},
        {"revoked": {}, "keys": []},
    ]
    merged = [revocations.merge(Answer.parse(BODY | change), NOW, 1) for change in changes]
    assert merged == [False, False, True, True]


# Judging


def test_no_token_is_refused_whatever_the_state() -> None:
    verifier = Verifier("http://127.0.0.1:1", "")
    with pytest.raises(Refused):
        verifier.judge(None)
    with pytest.raises(Unavailable):
        verifier.judge("")
