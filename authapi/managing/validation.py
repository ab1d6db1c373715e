"""What a client may be called, hold and be noted as, whoever asks for it."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from authapi.credentials.assertions import PublicKey, read_public_key
from authapi.credentials.scopes import MAX_LENGTH, is_scope, read_scopes
from authapi.credentials.signing_keys import KeyFault
from authapi.errors import InvalidRequest
from authapi.store.clients import is_name

FLAGS = {"true": True, "false": False}
MAX_NOTES = 20
MAX_NOTE_NAME = 40
MAX_NOTE = 200
MAX_LIFE_SECONDS = 3650 * 86_400
RATE = "A limit is like 600/hour, by second, minute, hour or day."
_NAME = (
    "A name has 1 to 100 printable characters that are seen, in Unicode's form NFC, no space at its"
    " ends and no dash at its beginning, and is not 20 hexadecimal digits, as an id is."
)
_SCOPES = (
    "Scopes are words of ASCII without quotes or backslashes, a space between two, and"
    f" {MAX_LENGTH} characters at most"
)
_METADATA = (
    f"Up to {MAX_NOTES} printable texts of at most {MAX_NOTE} characters, each under a printable"
    f" name of 1 to {MAX_NOTE_NAME}."
)


def name_of(text: str) -> str:
    """Raises `InvalidRequest`, as all here do."""
    if not is_name(text):
        raise InvalidRequest(_NAME, {"name": [_NAME]})
    return text


def scopes_of(text: str) -> str:
    """Each scope once."""
    try:
        return " ".join(read_scopes(text))
    except ValueError:
        raise InvalidRequest(f"{_SCOPES}: {text!r} is none.", {"scopes": [f"{_SCOPES}."]}) from None


def metadata_of(notes: Mapping[str, object]) -> str:
    """As it is kept."""
    is_sane = len(notes) <= MAX_NOTES and all(
        1 <= len(name) <= MAX_NOTE_NAME
        and isinstance(note, str)
        and len(note) <= MAX_NOTE
        and f"{name}{note}".isprintable()
        for name, note in notes.items()
    )
    if not is_sane:
        raise InvalidRequest(_METADATA, {"metadata": [_METADATA]})
    return json.dumps(notes, ensure_ascii=False)


def is_rate(text: str) -> bool:
    """Whether a client may be limited to log in so often."""
    return re.fullmatch("[1-9][0-9]{0,8}/(second|minute|hour|day)", text) is not None


def login_limit_of(text: str | None) -> str | None:
    """None is that of all clients."""
    if text is not None and not is_rate(text):
        raise InvalidRequest(RATE, {"login_limit": [RATE]})
    return text


class Filters(NamedTuple):
    """Which clients are asked for; None is any."""

    name: str | None
    scope: str | None
    disabled: bool | None


def filters_of(name: str | None, scope: str | None, disabled: bool | None) -> Filters:
    if name is not None:
        name_of(name)
    if scope is not None and not is_scope(scope):
        raise InvalidRequest(f"{scope!r} is not one scope.", {"scope": ["Not one scope."]})
    return Filters(name, scope, disabled)


def flag_of(asked: Mapping[str, str], name: str) -> bool | None:
    """Of a query that may have one."""
    text = asked.get(name)
    if text not in (None, *FLAGS):
        raise InvalidRequest("no flag", {name: ["Not true or false."]})
    return None if text is None else FLAGS[text]


def check_end(expires_at: int, now: float, field: str = "expires_at") -> None:
    """Of a key; `field` names what asked for it."""
    if not now < expires_at <= now + MAX_LIFE_SECONDS:
        says = f"A key ends in the future, and within {MAX_LIFE_SECONDS // 86_400} days."
        raise InvalidRequest(says, {field: [says]})


def given_public_key(asked: Mapping[str, Any]) -> PublicKey | None:
    """None where a secret is asked for."""
    return public_key_of(asked["public_key"]) if "public_key" in asked else None


def public_key_of(shown: str | Mapping[str, object]) -> PublicKey:
    """A PEM as a text, or a JWK, or a JWKS that holds it alone."""
    content = shown if isinstance(shown, str) else json.dumps(shown)
    try:
        return read_public_key(content.encode())
    except KeyFault as fault:
        says = str(fault)
        raise InvalidRequest(says, {"public_key": [says[0].upper() + says[1:]]}) from None
