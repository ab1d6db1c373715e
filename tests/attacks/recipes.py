"""Makes what the catalogue's recipes say, by hand: never with the code under test."""

import hashlib
import hmac
import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.forge import claims_for, encode, kid

FOLDER = Path(__file__).parent
CURRENT = "the-current-secret-of-the-attack-catalogue"
PREVIOUS = "the-previous-secret-of-the-attack-catalogue"
UNKNOWN = "a-secret-that-this-service-never-held-at-all"
WEEK = 604_800
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

Json = dict[str, Any]
Names = dict[str, str]


class UnfitError(Exception):
    """An operation changes nothing on this token; another `jti` makes one that it changes."""


@dataclass(frozen=True)
class Target:
    """A route that takes a token, how it comes, and which of the two it wants."""

    method: str
    path: str
    kind: str
    field: str = ""


TARGETS = {
    "/secure-data": Target("GET", "/secure-data", "access"),
    "/me": Target("GET", "/me", "access"),
    "/logout": Target("POST", "/logout", "access"),
    "/logout body": Target("POST", "/logout", "access", "access_token"),
    "/refresh-token": Target("POST", "/refresh-token", "refresh", "refresh_token"),
}
BY_HEADER = [name for name, target in TARGETS.items() if not target.field]
FIELDS = {"/login": "client_key", "/refresh-token": "refresh_token", "/logout": "access_token"}


@dataclass(frozen=True)
class Request:
    """What is sent. `secret` is what no answer may repeat and no log may hold."""

    method: str
    url: str
    headers: list[tuple[bytes, bytes]]
    content: bytes
    secret: str

    @property
    def arguments(self) -> Json:
        return {"headers": self.headers, "content": self.content or None}

    @property
    def is_plain(self) -> bool:
        """Tells whether a client can send its headers; what none can is a matter of the server."""
        return all(
            value == value.strip() and all(0x20 <= octet < 0x7F for octet in value)
            for _, value in self.headers
        )


def parameters(cases: list[Json]) -> list[Any]:
    """A `known` fault is expected, and strictly: whoever mends it must delete the word."""
    return [
        pytest.param(
            case,
            id=case["id"],
            marks=[pytest.mark.xfail(raises=AssertionError, strict=True, reason=case["known"])]
            if "known" in case
            else [],
        )
        for case in cases
    ]


def load(name: str) -> list[Json]:
    cases: list[Json] = json.loads((FOLDER / name).read_text())
    return cases


def text(content: Any, names: Mapping[str, str]) -> bytes:
    """The bytes that a recipe means: see "Text" in the README."""
    match content:
        case str():
            return Template(content).substitute(names).encode("utf-8", "surrogatepass")
        case {"base64": str(data)}:
            return b64decode(data, validate=True)
        case {"base64url": inner}:
            return urlsafe_b64encode(text(inner, names)).rstrip(b"=")
        case {"text": str(inner), "charset": str(charset)}:
            return text(inner, names).decode().encode(charset)
        case {"repeat": inner, "times": int(times)}:
            return text(inner, names) * times
        case {"join": [*parts]}:
            return b"".join(text(part, names) for part in parts)
    raise ValueError(f"no such text: {content!r}")


class Forger:
    """Makes requests at the time `now` for a service that signs with `CURRENT`."""

    alg = "HS256"
    kids = {"kid": kid(CURRENT), "previous_kid": kid(PREVIOUS), "unknown_kid": kid(UNKNOWN)}

    def __init__(self, now: float, client_key: str) -> None:
        self._now = int(now)
        self._client_key = client_key

    def token_request(self, case_id: str, recipe: Json, target_name: str) -> Request:
        target = TARGETS[target_name]
        token, names = self._token(case_id, recipe, target)
        secret = token.decode("utf-8", "replace")
        if "send" in recipe:
            send = recipe["send"]
            query = text(send["query"], names).decode("latin-1") if "query" in send else ""
            url = f"{target.path}?{query}" if query else target.path
            headers = [(k.encode(), text(v, names)) for k, v in send.get("headers", [])]
            body = text(send.get("body", ""), names)
            if "type" in send:
                headers.append((b"Content-Type", text(send["type"], names)))
            return Request(target.method, url, headers, body, secret)
        if target.field:
            body = json.dumps({target.field: token.decode("utf-8", "surrogatepass")}).encode()
            headers = [(b"Content-Type", b"application/json")]
            return Request(target.method, target.path, headers, body, secret)
        headers = [(b"Authorization", b"Bearer " + token)]
        return Request(target.method, target.path, headers, b"", secret)

    def body_request(self, case_id: str, recipe: Json, path: str) -> Request:
        """`${value}` is what the path accepts, so that a body has no fault but its own."""
        target = TARGETS["/refresh-token" if path == "/refresh-token" else "/logout"]
        token, names = self._token(f"{case_id}{path}", {}, target)
        names["field"] = FIELDS[path]
        names["value"] = self._client_key if path == "/login" else token.decode()
        headers = [(k.encode(), text(v, names)) for k, v in recipe.get("headers", [])]
        if recipe["type"] is not None:
            headers.append((b"Content-Type", text(recipe["type"], names)))
        return Request("POST", path, headers, text(recipe["body"], names), names["value"])

    def _token(self, case_id: str, recipe: Json, target: Target) -> tuple[bytes, Names]:
        for attempt in range(100):
            try:
                return self._try(case_id + "-" * attempt, recipe, target)
            except UnfitError:
                continue
        raise AssertionError(f"{case_id}: an operation of its spelling changes nothing")

    def _try(self, jti: str, recipe: Json, target: Target) -> tuple[bytes, Names]:
        claims, names = self._claims(jti, recipe.get("kind", target.kind), target)
        ours = {"alg": self.alg, "typ": names["typ"], "kid": names["kid"]}
        names |= {
            "header": self._segment(recipe, "header", names, ours),
            "payload": self._segment(recipe, "claims", names, claims),
        }
        names["signature"] = encode(self._signature(recipe.get("signature", {}), names))
        for name, segment, *arguments in recipe.get("spelling", []):
            old = names[segment]
            names[segment] = OPERATIONS[name](old, *arguments)
            if names[segment] == old:
                raise UnfitError
        token = text(recipe.get("token", "${header}.${payload}.${signature}"), names)
        return token, names | {"token": token.decode("utf-8", "replace")}

    def _claims(self, jti: str, kind: str, target: Target) -> tuple[Json, Names]:
        lifetime = {"access": 900, "refresh": WEEK}[kind]
        ids = {"jti": jti, "sid": f"{jti} {target.method} {target.path} {target.field}"}
        typ, other = ("at+jwt", "rt+jwt") if kind == "access" else ("rt+jwt", "at+jwt")
        claims = claims_for(typ, **ids, iat=self._now, exp=self._now + lifetime)
        names = {
            **{name: str(value) for name, value in claims.items()},
            "members": _dump(claims)[1:-1],
            "now": str(self._now),
            "typ": typ,
            "other_typ": other,
            **self.kids,
        }
        return claims, names

    def _segment(self, recipe: Json, part: str, names: Names, content: Json) -> str:
        if f"{part}_text" in recipe:
            return encode(text(recipe[f"{part}_text"], names))
        content = content | self._value(recipe.get(part, {}), names)
        for name in recipe.get(f"{part}_without", []):
            del content[name]
        return encode(_dump(content).encode("utf-8", "surrogatepass"))

    def _value(self, value: Any, names: Names) -> Any:
        match value:
            case {"now": int(seconds)}:
                return self._now + seconds
            case {"repeat": _, "times": _} | {"join": _}:
                return text(value, names).decode()
            case str():
                return Template(value).substitute(names)
            case list():
                return [self._value(item, names) for item in value]
            case dict():
                return {name: self._value(item, names) for name, item in value.items()}
        return value

    def _signature(self, recipe: Json, names: Names) -> bytes:
        message = text(recipe.get("over", "${header}.${payload}"), names)
        if "bytes" in recipe:
            return text(recipe["bytes"], names)
        if "alg" in recipe:
            return sign_as_a_stranger(recipe["alg"], message)
        signature = self._sign(recipe, message, names)
        if recipe.get("as") == "hex":
            signature = signature.hex().encode()
        return signature[: recipe.get("first")]

    def _sign(self, recipe: Json, message: bytes, names: Names) -> bytes:
        key = recipe.get("key", "current")
        key = KEYS[key]() if isinstance(key, str) else text(key, names)
        if "hash" in recipe:
            return hashlib.new(recipe["hash"], key + message).digest()
        return hmac.new(key, message, recipe.get("hmac", "sha256")).digest()


def _dump(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def _flip(old: str, at: int) -> str:
    at %= len(old)
    return old[:at] + ("A" if old[at] != "A" else "B") + old[at + 1 :]


def _set_unused_bits(old: str, bits: int) -> str:
    """Of the last letter: 32 bytes are 43 letters, which hold two bits more."""
    unused = bits & {2: 15, 3: 3}.get(len(old) % 4, 0)
    return old[:-1] + ALPHABET[ALPHABET.index(old[-1]) ^ unused]


OPERATIONS: dict[str, Callable[..., str]] = {
    "unused-bits": _set_unused_bits,
    "std-alphabet": lambda old: old.replace("-", "+").replace("_", "/"),
    "pad": lambda old: old + "=" * (-len(old) % 4),
    "flip": _flip,
    "insert": lambda old, at, what: old[:at] + what + old[at:],
    "append": lambda old, what: old + what,
    "cut": lambda old, length: old[:-length],
    "reverse": lambda old: old[::-1],
    "swap-case": lambda old: old.swapcase(),
    "encode-again": lambda old: encode(old.encode()),
    "percent-encode": lambda old: "".join(f"%{ord(letter):02X}" for letter in old),
}


def sign_as_a_stranger(algorithm: str, message: bytes) -> bytes:
    match algorithm:
        case "RS256":
            return _rsa().sign(message, padding.PKCS1v15(), hashes.SHA256())
        case "PS256":
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
            return _rsa().sign(message, pss, hashes.SHA256())
        case "ES256" | "ES256-der":
            signature = _ec().sign(message, ec.ECDSA(hashes.SHA256()))
            if algorithm == "ES256-der":
                return signature
            return b"".join(n.to_bytes(32, "big") for n in decode_dss_signature(signature))
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32).sign(message)
    raise ValueError(f"no such algorithm: {algorithm!r}")


@cache
def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def _ec() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _public(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, encoding: Encoding, form: PublicFormat
) -> bytes:
    return key.public_key().public_bytes(encoding, form)


KEYS: dict[str, Callable[[], bytes]] = {
    "current": lambda: CURRENT.encode(),
    "previous": lambda: PREVIOUS.encode(),
    "unknown": lambda: UNKNOWN.encode(),
    "current-sha256": lambda: hashlib.sha256(CURRENT.encode()).digest(),
    "current-base64url": lambda: encode(CURRENT.encode()).encode(),
    "current-without-its-end": lambda: CURRENT[:-1].encode(),
    "both": lambda: f"{CURRENT},{PREVIOUS}".encode(),
    "public-pem": lambda: _public(_rsa(), Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "public-pkcs1-pem": lambda: _public(_rsa(), Encoding.PEM, PublicFormat.PKCS1),
    "public-der": lambda: _public(_rsa(), Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "public-ssh": lambda: _public(_ec(), Encoding.OpenSSH, PublicFormat.OpenSSH),
}
