"""Which public keys may be registered, and which assertions count."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import String

import tables
from authapi.credentials import base64url
from authapi.credentials.assertions import PublicKey, read_assertion, read_public_key
from authapi.credentials.signing_keys import KeyFault
from tests import forge
from tests.assertions import assertion, private_pem, public_pem
from tests.conftest import NOW
from tests.signing import ES256, RS256, Ed25519, Key

KEYS: dict[str, Key] = {"ES256": ES256(), "RS256": RS256(), "Ed25519": Ed25519()}
OURS = {"https://auth.example", "https://auth.example/oauth/token"}


def read(content: Any) -> PublicKey:
    return read_public_key(json.dumps(content).encode())


@pytest.mark.parametrize("alg", KEYS)
def test_a_key_is_the_same_however_it_is_written(alg: str) -> None:
    key = KEYS[alg]
    jwk = {name: value for name, value in key.public.items() if name != "kid"}
    written = [
        read_public_key(public_pem(key)),
        read(jwk),
        read({"keys": [jwk]}),
        read(jwk | {"more": "ignored", "key_ops": ["verify"]}),
    ]
    assert len({key.digest for key in written}) == 1
    assert len({key.public_key for key in written}) == 1
    assert len({key.id for key in written}) == len(written)
    kept = json.loads(written[0].public_key)
    assert kept["alg"] == alg
    assert set(kept) <= {"kty", "crv", "x", "y", "n", "e", "alg", "kid"}
    assert written[0].digest == f"jkt:{kept['kid']}"


@pytest.mark.parametrize(("alg", "member"), [("ES256", "x"), ("RS256", "n"), ("RS256", "e")])
def test_zeros_before_a_number_make_no_other_key(alg: str, member: str) -> None:
    """Else a key that was revoked comes back, and one key is of two clients."""
    jwk = {name: value for name, value in KEYS[alg].public.items() if name != "kid"}
    longer = jwk | {member: forge.encode(b"\0\0" + base64url.decode(jwk[member].encode()))}
    one, other = read(jwk), read(longer)
    assert (one.digest, one.public_key) == (other.digest, other.public_key)


def test_the_kid_of_a_key_is_kept() -> None:
    assert json.loads(read(KEYS["ES256"].public).public_key)["kid"] == "es"


@pytest.mark.parametrize("letter", ["é", "\U0001f511", '"', "\\"])
def test_the_longest_key_fits_into_its_column(letter: str) -> None:
    jwk = {"kty": "RSA", "n": forge.encode(b"\xff" * 512), "e": "AQAB"}
    key = read(jwk | {"kid": letter * 255})
    column = tables.client_keys.c.public_key.type
    assert isinstance(column, String)
    assert len(key.public_key) <= (column.length or 0)
    assert json.loads(key.public_key)["kid"] == letter * 255


def test_the_older_name_of_ed25519_is_understood() -> None:
    kept = json.loads(read(KEYS["Ed25519"].public | {"alg": "EdDSA"}).public_key)
    assert kept["alg"] == "Ed25519"


def other_curve(curve: ec.EllipticCurve) -> bytes:
    key = ec.generate_private_key(curve).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


ES = KEYS["ES256"].public
RS = KEYS["RS256"].public
UNKNOWN_CURVE = b"""-----BEGIN PUBLIC KEY-----
MBYwDgYHKoZIzj0CAQYDKgMEAwQABAEC
-----END PUBLIC KEY-----
"""
UNFIT: dict[str, tuple[Any, str]] = {
    "a private PEM": (private_pem(KEYS["ES256"]), "private"),
    "a private JWK": (KEYS["ES256"].jwk, "private"),
    "a symmetric key": ({"kty": "oct", "k": "c2VjcmV0"}, "private"),
    "a PEM of another curve": (other_curve(ec.SECP384R1()), "ES256"),
    "a PEM of a curve that no JWK has": (other_curve(ec.BrainpoolP256R1()), "ES256"),
    "a PEM of a curve that nobody knows": (UNKNOWN_CURVE, "known"),
    "a PEM of nothing": (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "PEM"),
    "a certificate": (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "PEM"),
    "a short RSA key": (RS256(bits=1024).public, "2048"),
    "a short RSA key in a PEM": (public_pem(RS256(bits=1024)), "2048"),
    "a long RSA key": ({"kty": "RSA", "n": forge.encode(b"\xff" * 513), "e": "AQAB"}, "4096"),
    "a long exponent": (RS | {"e": forge.encode(b"\x7f" * 9)}, "exponent"),
    "an RSA key of no bits": ({"kty": "RSA", "n": "", "e": "AQAB"}, "ES256"),
    "another curve": (ES | {"crv": "P-384"}, "ES256"),
    "another algorithm": (ES | {"alg": "ES384"}, "ES256"),
    "for encryption": (ES | {"use": "enc"}, "ES256"),
    "a point off the curve": (ES | {"y": ES["x"]}, "ES256"),
    "half a point": ({name: ES[name] for name in ("kty", "crv", "x")}, "ES256"),
    "a number for a point": (ES | {"x": 1}, "ES256"),
    "a list for a curve": (ES | {"crv": []}, "ES256"),
    "an empty kid": (ES | {"kid": ""}, "kid"),
    "a long kid": (ES | {"kid": "k" * 256}, "kid"),
    "a number for a kid": (ES | {"kid": 1}, "kid"),
    "a kid that cannot be printed": (ES | {"kid": "a\0"}, "kid"),
    "no key": ({"keys": []}, "one key"),
    "two keys": ({"keys": [ES, ES]}, "one key"),
    "keys that are no list": ({"keys": ES}, "one key"),
    "a list": ([ES], "one key"),
    "a JWKS of no JWK": ({"keys": ["x"]}, "no JWK"),
    "a text": (b"ssh-ed25519 AAAA", "neither"),
    "nothing": (b"", "neither"),
    "bytes": (b"\xff\xfe", "neither"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_is_no_public_key_of_ours_is_refused_with_what_to_do(what: str) -> None:
    content, says = UNFIT[what]
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(KeyFault, match=says):
        read_public_key(content)


def verdict(text: str, key: Key = KEYS["ES256"], now: float = NOW) -> str:
    """Empty if it counts."""
    public = read(key.public).public_key
    try:
        said = read_assertion(text)
        if not said.is_signed_by(public):
            return "not signed"
        said.check(OURS, now, 10)
    except ValueError as fault:
        return str(fault)
    return ""


def made(key: Key = KEYS["ES256"], header: dict[str, Any] | None = None, **changes: Any) -> str:
    return assertion(key, "client-1", header, **{"aud": "https://auth.example"} | changes)


@pytest.mark.parametrize("alg", KEYS)
def test_what_a_client_signs_counts(alg: str) -> None:
    key = KEYS[alg]
    for header in (
        {},
        {"kid": key.public["kid"]},
        {"typ": ...},
        {"typ": "client-authentication+jwt"},
    ):
        assert verdict(made(key, header), key) == ""
    assert read_assertion(made(key)).client_id == "client-1"


def test_either_name_of_ed25519_is_signed_with() -> None:
    assert verdict(made(KEYS["Ed25519"], {"alg": "EdDSA"}), KEYS["Ed25519"]) == ""


T = int(NOW)
CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "the token endpoint as audience": ({"aud": "https://auth.example/oauth/token"}, ""),
    "a list of one audience": ({"aud": ["https://auth.example"]}, ""),
    "a list of two": ({"aud": ["https://auth.example", "https://other.example"]}, "for others"),
    "an empty list": ({"aud": []}, "for others"),
    "no audience": ({"aud": ...}, "for others"),
    "an audience with a slash more": ({"aud": "https://auth.example/"}, "for others"),
    "another audience": ({"aud": "https://other.example"}, "for others"),
    "a number for an audience": ({"aud": 1}, "for others"),
    "another issuer": ({"iss": "client-2"}, "wrong claims"),
    "no issuer": ({"iss": ...}, "wrong claims"),
    "no subject": ({"sub": ...}, "wrong claims"),
    "a number for a subject": ({"iss": 1, "sub": 1}, "wrong claims"),
    "a NUL in the subject": ({"iss": "a\0", "sub": "a\0"}, "wrong claims"),
    "a subject that is not ASCII": ({"iss": "é", "sub": "é"}, "wrong claims"),
    "no jti": ({"jti": ...}, "wrong claims"),
    "an empty jti": ({"jti": ""}, "wrong claims"),
    "a long jti": ({"jti": "j" * 513}, "wrong claims"),
    "a number for a jti": ({"jti": 1}, "wrong claims"),
    "no exp": ({"exp": ...}, "wrong claims"),
    "a text for exp": ({"exp": str(T + 60)}, "wrong claims"),
    "true for exp": ({"exp": True}, "wrong claims"),
    "exp before all time": ({"exp": -1}, "wrong claims"),
    "exp after all time": ({"exp": 2**53}, "wrong claims"),
    "null for iat": ({"iat": None}, "wrong claims"),
    "a fraction": ({"iat": T + 0.5, "exp": T + 60.5}, ""),
    "exp within the leeway": ({"exp": T - 9}, ""),
    "exp past the leeway": ({"exp": T - 10}, "expired"),
    "iat within the leeway": ({"iat": T + 10}, ""),
    "iat past the leeway": ({"iat": T + 11}, "of the future"),
    "nbf past the leeway": ({"nbf": T + 11}, "of the future"),
    "nbf that is over": ({"nbf": T - 60}, ""),
    "an hour, by whoever writes no less": ({"exp": T + 3600}, ""),
    "of the last 5 minutes of an hour": ({"iat": T - 305, "exp": T + 3295}, ""),
    "of the sixth minute of an hour": ({"iat": T - 310, "exp": T + 3290}, "expired"),
    "without iat": ({"iat": ..., "exp": T + 300}, ""),
    "without iat, for too long": ({"iat": ..., "exp": T + 311}, "for too long"),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_the_claims_are_judged(what: str) -> None:
    changes, fault = CLAIMS[what]
    assert (fault in verdict(made(**changes))) if fault else verdict(made(**changes)) == ""


def test_an_assertion_that_counted_at_the_last_moment_is_over_at_the_next() -> None:
    for changes in ({"exp": T + 60}, {"exp": T + 3600}, {"iat": ..., "exp": T + 60}):
        text = made(**changes)
        end = read_assertion(text).ends_at + 10
        assert verdict(text, now=end - 0.001) == ""
        assert "expired" in verdict(text, now=end)


HEADERS: dict[str, dict[str, Any]] = {
    "none": {"alg": "none"},
    "HMAC": {"alg": "HS256"},
    "another of its kind": {"alg": "ES384"},
    "another kind": {"alg": "RS256"},
    "no algorithm": {"alg": ...},
    "a list": {"alg": ["ES256"]},
    "another key": {"kid": "other"},
    "a number for a kid": {"kid": 1},
    "critical": {"crit": ["exp"], "exp": 1},
    "unencoded": {"b64": False, "crit": ["b64"]},
}


@pytest.mark.parametrize("what", HEADERS)
def test_another_header_is_refused(what: str) -> None:
    assert verdict(made(header=HEADERS[what])) in ("not signed", "malformed assertion")


def test_what_a_stranger_signed_is_not_the_clients() -> None:
    for key in (ES256(), ES256(kid="other"), KEYS["RS256"]):
        assert verdict(made(key)) == "not signed"
    text = made()
    head, payload, signature = text.split(".")
    for other in (
        f"{head}.{payload}.",
        f"{head}.{payload}.{signature[:-2]}",
        f"{head}.{payload}.=",
    ):
        assert verdict(other) in ("not signed", "malformed assertion")
    unsigned = forge.segment({"alg": "none"})
    assert verdict(f"{unsigned}.{payload}.") == "not signed"


@pytest.mark.parametrize(
    "text",
    ["", "x", "a.b.c", "é.é.é", "\0", "....", "e30.e30.e30", "x" * 16_000, "W10.W10.", "[" * 99],
)
def test_what_is_no_jwt_is_malformed(text: str) -> None:
    assert verdict(text) == "malformed assertion"


def test_a_payload_that_is_no_object_is_malformed() -> None:
    key = KEYS["ES256"]
    for payload in ("W10", forge.encode(b"[" * 5000), forge.encode(b'"x"'), forge.encode(b"\xff")):
        head = forge.segment({"alg": "ES256"})
        signature = forge.encode(key.sign(f"{head}.{payload}".encode()))
        assert verdict(f"{head}.{payload}.{signature}") == "malformed assertion"


def test_what_is_spent_is_no_other_clients_and_no_session() -> None:
    one = read_assertion(assertion(KEYS["ES256"], "client-1", jti="x"))
    same = read_assertion(assertion(KEYS["ES256"], "client-1", jti="x", exp=T + 9))
    others = read_assertion(assertion(KEYS["ES256"], "client-2", jti="x"))
    assert one.jti == same.jti != others.jti
    assert one.jti.startswith("a.")
    assert len(one.jti) == 24
