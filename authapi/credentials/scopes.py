"""Scopes: what a client may do, as words with spaces between (RFC 6749, 3.3)."""

import re

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
MAX_LENGTH = 1000


def read_scopes(text: str) -> list[str]:
    """The scopes in their order, each once. Raises `ValueError` if that is not what `text` is."""
    scopes = list(dict.fromkeys(text.split(" "))) if text else []
    if len(text) > MAX_LENGTH or not all(map(_SCOPE.fullmatch, scopes)):
        raise ValueError("not a list of scopes")
    return scopes


def is_scope(text: str) -> bool:
    """A single one."""
    return len(text) <= MAX_LENGTH and _SCOPE.fullmatch(text) is not None


def is_within(asked: list[str], granted: str) -> bool:
    return set(asked) <= set(granted.split())
