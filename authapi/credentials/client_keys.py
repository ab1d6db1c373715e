"""Client keys: how they are made, recognised and stored.

`ck_<key id>_<secret><checksum>`: the id is public, the secret has 256 random bits, and the
checksum lets a mistyped or made-up key die without a question to the database.
"""

import re
import secrets
import string
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 43
"""43 characters of 62 are 256 bits."""
_KEY_LENGTH = 71
_PATTERN = re.compile(r"(ck_[0-9a-f]{16}_[0-9A-Za-z]{43})([0-9a-f]{8})")
# A look-ahead, since the torso of a key may take the first letter of a whole one for its own.
_ANYWHERE = re.compile(rf"(?=({_PATTERN.pattern}))".encode())


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A new key. `text` is shown once; `digest` is what we keep."""

    id: str
    text: str
    digest: str
    public_key: None = None


def new_client_id() -> str:
    return secrets.token_hex(10)


def new_key_id() -> str:
    return secrets.token_hex(8)


def new_client_key() -> ClientKey:
    key_id = new_key_id()
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    body = f"ck_{key_id}_{secret}"
    text = body + _checksum(body)
    return ClientKey(key_id, text, digest_of(text))


def is_well_formed(text: str) -> bool:
    """Tells whether `text` has the shape and the checksum of a key; no secret is involved."""
    match = _PATTERN.fullmatch(text)
    return match is not None and _checksum(match[1]) == match[2]


def id_of(text: str) -> str:
    """The public id in a well-formed key, whether or not there is such a key."""
    return text.split("_")[1]


def find_keys(chunks: Iterable[bytes]) -> dict[str, str]:
    """The digest of each key that stands anywhere in the chunks, with the key's id.

    Other bytes may stand right beside a key. The letters may be two bytes wide, as in what some
    consoles write; a key that is wrapped over two lines is not found.
    """
    found, rest = {}, b""
    for chunk in chunks:
        text = rest + chunk.replace(b"\0", b"")
        for match in _ANYWHERE.finditer(text):
            key = match[1].decode()
            if is_well_formed(key):
                found[digest_of(key)] = id_of(key)
        rest = text[-(_KEY_LENGTH - 1) :]
    return found


def digest_of(text: str) -> str:
    """A fast hash on purpose: a slow one protects weak secrets, and this one is not weak."""
    return sha256(text.encode()).hexdigest()


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
