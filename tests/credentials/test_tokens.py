"""A token is ours to the last bit, or it is nothing. Every one here is forged by hand."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from authapi.credentials.claims import Claims, successor_jti
from authapi.credentials.tokens import ACCESS, REFRESH, Tokens
from authapi.errors import InvalidToken
from tests import forge
from tests.conftest import DATABASE_ID, NOW, SECRET, Clock

PREVIOUS = "p" * 32


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    tokens = Tokens([SECRET, PREVIOUS], "auth-api", "auth-api", 900, 604_800, 10, clock)
    tokens.serve(DATABASE_ID)
    return tokens


def test_a_token_made_by_hand_as_the_rfcs_say_is_read(tokens: Tokens) -> None:
    assert tokens.verify(ACCESS, forge.token(scope="read", era=1.5)) == Claims(
        sub="client-1",
        sid="session-1",
        jti="token-1",
        key_id="key-1",
        scope="read",
        era=1.5,
        iat=int(NOW),
        exp=int(NOW) + 900,
        database_id=DATABASE_ID,
    )


def test_what_is_issued_is_what_is_made_by_hand(tokens: Tokens) -> None:
    claims = Claims(
        "client-1", "session-1", "token-1", "key-1", "", 0, int(NOW), int(NOW) + 900, DATABASE_ID
    )
    assert tokens.issue(ACCESS, claims) == forge.token()
    assert tokens.issue(REFRESH, claims) == forge.token("rt+jwt")


def test_a_previous_secret_still_verifies(tokens: Tokens) -> None:
    assert tokens.verify(ACCESS, forge.token(secret=PREVIOUS)).sub == "client-1"


def test_neither_token_passes_for_the_other(tokens: Tokens) -> None:
    for typ, other in ((ACCESS, "rt+jwt"), (REFRESH, "at+jwt")):
        with pytest.raises(InvalidToken):
            tokens.verify(typ, forge.token(other))


ONE_SECOND_OFF: list[tuple[dict[str, Any], bool]] = [
    ({"iat": int(NOW) - 99, "exp": int(NOW) - 9}, True),
    ({"iat": int(NOW) - 99, "exp": int(NOW) - 10}, False),
    ({"iat": int(NOW) + 10, "exp": int(NOW) + 900}, True),
    ({"iat": int(NOW) + 11, "exp": int(NOW) + 900}, False),
    ({"iat": int(NOW), "exp": int(NOW) + 900}, True),
    ({"iat": int(NOW), "exp": int(NOW) + 901}, False),
]


@pytest.mark.parametrize(("claims", "is_accepted"), ONE_SECOND_OFF)
def test_the_times_are_exact_with_the_leeway(
    tokens: Tokens, claims: dict[str, Any], is_accepted: bool
) -> None:
    token = forge.token(**claims)
    tokens.read(ACCESS, token)
    if is_accepted:
        tokens.verify(ACCESS, token)
    else:
        with pytest.raises(InvalidToken):
            tokens.verify(ACCESS, token)


NOTHING_OF_OURS: list[Any] = [..., None, [], {}, ["auth-api"], 10**400]
WRONG: list[tuple[str, Any]] = [
    *[(claim, value) for claim in forge.ACCESS_CLAIMS for value in NOTHING_OF_OURS],
    *[(claim, value) for claim in ("iss", "aud") for value in ("", "other", "auth-api ", 1)],
    *[(claim, value) for claim in ("sub", "sid", "jti", "key_id", "scope") for value in (1, True)],
    *[(claim, value) for claim in ("iat", "exp") for value in ("1", "", True, 1.5, -1, 1e300)],
    *[("era", value) for value in ("0", "")],
]


@pytest.mark.parametrize(("claim", "value"), WRONG, ids=lambda value: repr(value)[:10])
def test_a_signed_token_with_other_claims_than_ours_is_refused(
    tokens: Tokens, claim: str, value: Any
) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(ACCESS, forge.token(**{claim: value}))


@pytest.mark.parametrize("claim", ["nbf", "azp", "role", ""])
def test_a_claim_that_we_do_not_issue_is_refused(tokens: Tokens, claim: str) -> None:
    more: dict[str, Any] = {claim: 1}
    with pytest.raises(InvalidToken):
        tokens.verify(ACCESS, forge.token(**more))


PAYLOADS = [b"", b"{}", b"[]", b"null", b"1", b'"x"', b"{", b"\xff", b"NaN", b"[" * 100_000]


def test_a_signed_payload_with_a_space_more_is_refused(tokens: Tokens) -> None:
    """Which says the same, but is no text of ours."""
    payload = json.dumps(forge.ACCESS_CLAIMS).encode()
    signing_input = f"{forge.segment(forge.header())}.{forge.encode(payload)}"
    with pytest.raises(InvalidToken, match="not as we write it"):
        tokens.verify(ACCESS, forge.sign(signing_input))


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: repr(payload[:9]))
def test_a_signed_payload_that_is_no_claims_is_refused(tokens: Tokens, payload: bytes) -> None:
    signing_input = f"{forge.segment(forge.header())}.{forge.encode(payload)}"
    with pytest.raises(InvalidToken):
        tokens.verify(ACCESS, forge.sign(signing_input))


HEADERS: dict[str, Any] = {
    "alg none": forge.header(alg="none"),
    "alg None": forge.header(alg="None"),
    "alg NONE": forge.header(alg="NONE"),
    "alg list": forge.header(alg=["HS256"]),
    "alg null": forge.header(alg=None),
    "another hash": forge.header(alg="HS512"),
    "a public-key algorithm": forge.header(alg="RS256"),
    "unknown kid": forge.header(kid="x"),
    "kid path": forge.header(kid="../../dev/null"),
    "kid of another": forge.header(secret="k" * 32),
    "no kid": {"alg": "HS256", "typ": "at+jwt"},
    "typ JWT": forge.header(typ="JWT"),
    "typ in capitals": forge.header(typ="AT+JWT"),
    "typ with its tree": forge.header(typ="application/at+jwt"),
    "jku": forge.header(jku="https://elsewhere.example/jwks"),
    "jwk": forge.header(jwk={"kty": "oct", "k": "AAAA"}),
    "x5u": forge.header(x5u="https://elsewhere.example/cert"),
    "crit": forge.header(crit=["x"]),
    "crit null": forge.header(crit=None),
    "b64": forge.header(b64=False, crit=["b64"]),
    "a string": "HS256",
    "a list": ["alg"],
    "null": None,
    "other order": dict(reversed(forge.header().items())),
}


@pytest.mark.parametrize("fault", HEADERS)
def test_a_header_that_we_do_not_write_is_refused(tokens: Tokens, fault: str) -> None:
    payload = forge.segment(forge.ACCESS_CLAIMS)
    with pytest.raises(InvalidToken):
        tokens.verify(ACCESS, forge.sign(f"{forge.segment(HEADERS[fault])}.{payload}"))
    with pytest.raises(InvalidToken):
        tokens.verify(ACCESS, f"{forge.segment(HEADERS[fault])}.{payload}.")


def _flip(token: str, index: int) -> str:
    other = "A" if token[index] != "A" else "B"
    return token[:index] + other + token[index + 1 :]


def _unused_bits(token: str) -> str:
    """The same signature bytes: 43 characters hold two bits more than 32 bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) | 1]


MUTATIONS: dict[str, Callable[[str], str]] = {
    "empty": lambda token: "",
    "one segment": lambda token: token.split(".")[0],
    "two segments": lambda token: token.rpartition(".")[0],
    "no signature": lambda token: token.rpartition(".")[0] + ".",
    "four segments": lambda token: token + ".x",
    "an empty fourth segment": lambda token: token + ".",
    "no payload": lambda token: token.split(".")[0] + ".." + token.split(".")[2],
    "no header": lambda token: token[token.index(".") :],
    "padding": lambda token: token + "=",
    "a space": lambda token: token + " ",
    "a newline": lambda token: token + "\n",
    "a NUL": lambda token: token + "\0",
    "unused bits": _unused_bits,
    "a flipped signature": lambda token: _flip(token, -20),
    "a flipped payload": lambda token: _flip(token, token.index(".") + 20),
    "a flipped header": lambda token: _flip(token, 20),
    "a truncated signature": lambda token: token[:-4],
    "a letter outside ASCII": lambda token: token + "é",
    "a lone surrogate": lambda token: token + "\ud800",
    "a payload outside ASCII": lambda token: token.replace(".", ".é", 1),
    "the other alphabet": lambda token: token.replace("_", "/").replace("-", "+") + "+",
    "JSON serialisation": lambda token: json.dumps({"payload": token.split(".")[1]}),
    "huge": lambda token: token + "A" * 1_000_000,
    "dots": lambda token: "." * 10_000,
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_token_with_another_spelling_is_refused(tokens: Tokens, mutation: str) -> None:
    good = forge.token()
    mutated = MUTATIONS[mutation](good)
    assert mutated != good
    with pytest.raises(InvalidToken):
        tokens.verify(ACCESS, mutated)


@pytest.mark.parametrize("digest", ["sha1", "sha384", "sha512"])
def test_another_hash_is_refused(tokens: Tokens, digest: str) -> None:
    signing_input = forge.token().rpartition(".")[0]
    with pytest.raises(InvalidToken):
        tokens.verify(ACCESS, forge.sign(signing_input, digest=digest))


def test_a_strangers_signature_is_refused(tokens: Tokens) -> None:
    signing_input = forge.token().rpartition(".")[0]
    for secret in ("k" * 32, "", SECRET[:-1], SECRET + "x", forge.kid(SECRET)):
        with pytest.raises(InvalidToken):
            tokens.verify(ACCESS, forge.sign(signing_input, secret))


def test_the_successor_is_the_same_for_whoever_asks() -> None:
    claims = Claims("c", "s", "j", "k", "", 0, 1, 9, DATABASE_ID)
    assert claims.successor(5) == claims.successor(5)
    assert claims.successor(5).exp == 9
    assert claims.successor(5).jti == successor_jti("j") not in ("j", successor_jti("i"))


def test_a_token_of_another_database_is_refused_by_its_header(tokens: Tokens) -> None:
    """Also one that is issued here, since it was asked for before the database was another one."""
    kid = forge.kid(SECRET, "fedcba9876543210")
    header, payload = forge.header(kid=kid), forge.segment(forge.ACCESS_CLAIMS)
    elsewhere = forge.sign(f"{forge.segment(header)}.{payload}")
    claims = tokens.verify(ACCESS, forge.token())
    assert tokens.issue(ACCESS, claims._replace(database_id="fedcba9876543210")) == elsewhere
    with pytest.raises(InvalidToken, match="unknown header"):
        tokens.verify(ACCESS, elsewhere)
    tokens.serve("fedcba9876543210")
    assert tokens.verify(ACCESS, elsewhere).database_id == "fedcba9876543210"
    with pytest.raises(InvalidToken, match="unknown header"):
        tokens.verify(ACCESS, forge.token())
