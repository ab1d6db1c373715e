"""A token is signed with a key of the file or with a secret, and neither passes for the other."""

import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey

from authapi.credentials.claims import Claims
from authapi.credentials.signing_keys import ALGORITHMS, KeyFault, from_jwk, from_secret, new_jwk
from authapi.credentials.tokens import ACCESS, REFRESH, Tokens
from authapi.errors import InvalidToken
from tests import forge, signing
from tests.conftest import DATABASE_ID, NOW, SECRET, Clock
from tests.signing import ES256, ORDER, RS256, Ed25519, Key

IDS = "client-1", "session-1", "token-1", "key-1"
CLAIMS = Claims(
    "client-1", "session-1", "token-1", "key-1", "", 0, int(NOW), int(NOW) + 900, DATABASE_ID
)
KEYS: dict[str, Key] = {"ES256": ES256(), "RS256": RS256(), "Ed25519": Ed25519()}


def tokens_with(*keys: Key, clock: Clock, secrets: tuple[str, ...] = (SECRET,)) -> Tokens:
    tokens = Tokens(secrets, "auth-api", "auth-api", 900, 604_800, 10, clock)
    tokens.use([from_jwk(key.jwk) for key in keys])
    tokens.serve(DATABASE_ID)
    return tokens


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_token_signed_by_hand_is_read_and_ours_reads_the_same(alg: str, clock: Clock) -> None:
    key = KEYS[alg]
    tokens = tokens_with(key, clock=clock)
    for typ in (ACCESS, REFRESH):
        issued = tokens.issue(typ, CLAIMS)
        assert issued.rpartition(".")[0] == signing.signing_input(key, typ)
        assert tokens.verify(typ, issued) == CLAIMS
        assert tokens.verify(typ, signing.token(key, typ)) == CLAIMS


def test_a_secret_verifies_beside_the_keys_and_does_not_sign(clock: Clock) -> None:
    tokens = tokens_with(KEYS["ES256"], clock=clock)
    assert tokens.verify(REFRESH, forge.token("rt+jwt")) == CLAIMS
    assert forge.header_of(tokens.issue(ACCESS, CLAIMS))["alg"] == "ES256"


def test_without_a_secret_the_keys_are_all_there_is(clock: Clock) -> None:
    tokens = tokens_with(KEYS["ES256"], clock=clock, secrets=())
    tokens.verify(ACCESS, signing.token(KEYS["ES256"]))
    with pytest.raises(InvalidToken):
        tokens.verify(ACCESS, forge.token())


def test_the_newest_key_that_is_due_signs_and_all_verify(clock: Clock) -> None:
    now = int(NOW)
    old = ES256("old", signs_from=now - 100, signs_until=now + 60, retires_at=now + 999)
    new = ES256("new", signs_from=now + 60)
    tokens = tokens_with(new, old, clock=clock)
    assert forge.header_of(tokens.issue(ACCESS, CLAIMS))["kid"] == f"old.{DATABASE_ID}"
    tokens.verify(ACCESS, signing.token(new))  # of a node whose clock is ahead
    clock.advance(60)
    assert forge.header_of(tokens.issue(ACCESS, CLAIMS))["kid"] == f"new.{DATABASE_ID}"
    tokens.verify(ACCESS, signing.token(old))


def test_a_clock_that_is_behind_does_not_leave_us_without_a_key(clock: Clock) -> None:
    first = ES256("first", signs_from=int(NOW) + 5)
    tokens = tokens_with(first, ES256("second", signs_from=int(NOW) + 50), clock=clock)
    assert forge.header_of(tokens.issue(ACCESS, CLAIMS))["kid"] == f"first.{DATABASE_ID}"


def test_a_remembered_token_is_forgotten_with_its_key(clock: Clock) -> None:
    tokens = tokens_with(KEYS["ES256"], KEYS["RS256"], clock=clock)
    token = signing.token(KEYS["RS256"])
    tokens.verify(ACCESS, token)
    tokens.use([from_jwk(KEYS["ES256"].jwk)])
    with pytest.raises(InvalidToken, match="unknown header"):
        tokens.verify(ACCESS, token)


def public_texts(key: ES256) -> list[bytes]:
    """What is public about a key, as one might take it for a secret."""
    public = key.key.public_key()
    texts = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        json.dumps(key.public).encode(),
        json.dumps(key.public, separators=(",", ":")).encode(),
        key.public["x"].encode(),
        forge.decode(key.public["x"]),
    ]
    return [*texts, *[text.strip() for text in texts]]


def test_the_public_key_is_no_secret_to_sign_with(clock: Clock) -> None:
    """CVE-2015-9235: HS256 with what is public of an asymmetric key."""
    key = ES256()
    tokens = tokens_with(key, clock=clock)
    for secret in public_texts(key):
        jwk_kid = forge.kid("x" * 32)
        for changes in ({"alg": "HS256"}, {}, {"alg": "HS256", "kid": jwk_kid}):
            text = signing.signing_input(key, **changes)
            signature = hmac.digest(secret, text.encode(), "sha256")
            with pytest.raises(InvalidToken):
                tokens.verify(ACCESS, f"{text}.{forge.encode(signature)}")


ES: ES256 = ES256()
SIGNATURES: dict[str, Callable[[bytes], bytes]] = {
    "DER": ES.der,
    "r and s of 0 (CVE-2022-21449)": lambda text: bytes(64),
    "r and s of 0 in DER": lambda text: bytes.fromhex("3006020100020100"),
    "r and s of the order": lambda text: ORDER.to_bytes(32, "big") * 2,
    "r of 0": lambda text: bytes(32) + ES.sign(text)[32:],
    "s of 0": lambda text: ES.sign(text)[:32] + bytes(32),
    "a byte short": lambda text: ES.sign(text)[:63],
    "a byte long": lambda text: ES.sign(text) + b"\0",
    "a byte in front": lambda text: b"\0" + ES.sign(text),
    "each half a byte longer": lambda t: b"\0" + ES.sign(t)[:32] + b"\0" + ES.sign(t)[32:],
    "halves in the other order": lambda text: ES.sign(text)[32:] + ES.sign(text)[:32],
    "empty": lambda text: b"",
    "of other words": lambda text: ES.sign(text + b" "),
    "of a stranger with the same kid": lambda text: ES256().sign(text),
    "an HMAC with the secret": lambda text: hmac.digest(SECRET.encode(), text, "sha256"),
}


@pytest.mark.parametrize("fault", SIGNATURES)
def test_no_other_signature_passes_for_es256(fault: str, clock: Clock) -> None:
    tokens = tokens_with(ES, clock=clock)
    text = signing.signing_input(ES)
    tokens.verify(ACCESS, f"{text}.{forge.encode(ES.sign(text.encode()))}")
    with pytest.raises(InvalidToken):
        tokens.verify(ACCESS, f"{text}.{forge.encode(SIGNATURES[fault](text.encode()))}")


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize(
    "label", ["none", "HS256", "ES256", "ES384", "ES256K", "RS256", "PS256", "EdDSA", "Ed25519"]
)
def test_a_signature_is_of_the_algorithm_of_its_key(alg: str, label: str, clock: Clock) -> None:
    """The others' headers are known as well: a kid does not go with another key's algorithm."""
    tokens = tokens_with(*KEYS.values(), clock=clock)
    for kid in ("es", "rs", "ed", forge.kid(SECRET)):
        if (label, kid) != (alg, KEYS[alg].public["kid"]):
            with pytest.raises(InvalidToken):
                tokens.verify(ACCESS, signing.token(KEYS[alg], alg=label, kid=kid))


def test_the_twin_of_a_signature_is_the_same_token(clock: Clock) -> None:
    """Whoever has (r, s) has (r, -s), which all verifiers take: it has the same session and end."""
    tokens = tokens_with(ES, clock=clock)
    text = signing.signing_input(ES)
    r, s = decode_dss_signature(ES.der(text.encode()))
    twin = r.to_bytes(32, "big") + (ORDER - s).to_bytes(32, "big")
    assert tokens.verify(ACCESS, f"{text}.{forge.encode(twin)}") == CLAIMS


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_what_is_public_of_a_key_holds_nothing_private(alg: str) -> None:
    jwk = new_jwk(alg) | {"oth": [], "k": "secret", "signs_from": 1, "mine": 2}
    public = from_jwk(jwk).public(DATABASE_ID)
    assert not set(public) & {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}
    assert set(public) <= {"kty", "crv", "x", "y", "n", "e", "use", "alg", "kid"}
    assert not [value for name, value in jwk.items() if name in "dpq" and value in str(public)]


def test_a_key_can_be_shown_without_its_secret() -> None:
    key = ES256()
    assert key.jwk["d"] not in repr(from_jwk(key.jwk))
    assert SECRET not in repr(from_secret(SECRET))


STATES = [(99, "prepublished"), (100, "signing"), (199, "signing"), (200, "verifying")]


@pytest.mark.parametrize(("now", "state"), [*STATES, (299, "verifying"), (300, "retired")])
def test_the_state_of_a_key_hangs_on_its_dates_and_the_clock(now: int, state: str) -> None:
    key = from_jwk(ES256(signs_from=100, signs_until=200, retires_at=300).jwk)
    assert key.state(now) == state


def without(key: Key, *names: str) -> dict[str, Any]:
    return {name: value for name, value in key.jwk.items() if name not in names}


NAMES = {"kid": "es", "alg": "ES256"}
FAULTS: dict[str, tuple[Any, str]] = {
    "no object": ("x", "its `kid` is not"),
    "no kid": (without(ES, "kid"), "its `kid` is not"),
    "a kid of another type": (ES.jwk | {"kid": 5}, "its `kid` is not"),
    "an empty kid": (ES.jwk | {"kid": ""}, "its `kid` is not"),
    "a long kid": (ES.jwk | {"kid": "x" * 65}, "its `kid` is not"),
    "a kid outside ASCII": (ES.jwk | {"kid": "é"}, "its `kid` is not"),
    "no alg": (without(ES, "alg"), "its `alg` is none of ES256, RS256, Ed25519"),
    "an alg of a secret": (ES.jwk | {"alg": "HS256"}, "its `alg` is none of"),
    "an alg of another type": (ES.jwk | {"alg": ["ES256"]}, "its `alg` is none of"),
    "public only": (ES.public, "it is a public key"),
    "a short RSA key": (RS256(bits=1024).jwk, "its RSA key is shorter than 2048 bits"),
    "an unreadable n": (KEYS["RS256"].jwk | {"n": "!"}, "it is no RS256 key"),
    "an n of another type": (KEYS["RS256"].jwk | {"n": 5}, "it is no RS256 key"),
    "another kind of key": (ES.jwk | {"alg": "Ed25519"}, "it is no Ed25519 key"),
    "another curve": (
        dict(ECKey.generate_key("P-384").as_dict(private=True)) | NAMES,
        "it is no ES256 key",
    ),
    "a kty of another type": (ES.jwk | {"kty": []}, "it is no ES256 key"),
    "a point off the curve": (ES.jwk | {"x": ES.jwk["y"]}, "it is no ES256 key"),
    "a member too few": (without(ES, "y"), "it is no ES256 key"),
    "an unreadable d": (ES.jwk | {"d": "!!"}, "it is no ES256 key"),
    "a d of another type": (ES.jwk | {"d": 5}, "it is no ES256 key"),
    "another's public half": (KEYS["Ed25519"].jwk | {"x": Ed25519().jwk["x"]}, "halves do not"),
    "a date in words": (ES.jwk | {"signs_from": "today"}, "its `signs_from` is no time"),
    "a date that is a bool": (ES.jwk | {"retires_at": True}, "its `retires_at` is no time"),
    "a date before all": (ES.jwk | {"published_at": -1}, "its `published_at` is no time"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_key_that_cannot_be_used_says_why_and_shows_nothing(fault: str) -> None:
    jwk, reason = FAULTS[fault]
    with pytest.raises(KeyFault, match=reason) as caught:
        from_jwk(jwk)
    assert ES.jwk["d"] not in str(caught.value)
