"""What a setting may be: how each kind is read, and what is refused with what to write instead.

A message repeats no value, since that may be a secret.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from math import log2
from typing import Any, TypeVar

from limits import parse
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from marshmallow import ValidationError, fields
from marshmallow.validate import Range

from authapi.addresses import check_host, read_proxies
from authapi.engines import urls

T = TypeVar("T")
SECRET_BYTES = 32
"""RFC 7518, 3.2: an HS256 key has at least as many bytes as the hash it makes."""


def long_enough(secret: str) -> None:
    if len(os.fsencode(secret)) < SECRET_BYTES:
        raise ValidationError(
            f"A secret needs {SECRET_BYTES} bytes or more; make one with `openssl rand -hex 32`."
        )


def bits_of(secret: str) -> float:
    """At most so many, if each character had been drawn by itself from those that occur."""
    return sum(-count * log2(count / len(secret)) for count in Counter(secret).values())


def whole(secret: str) -> None:
    """What SECRET_KEY_FALLBACKS would read as another secret, or as several, once it is there."""
    if "," in secret or secret != secret.strip():
        raise ValidationError(
            "A secret has no comma, and no space at an end: it could never become a fallback."
        )


def printable(text: str) -> None:
    if not text.isprintable():
        raise ValidationError("Must be printable text.")


def rate(text: str) -> None:
    try:
        parse(text)
    except ValueError:
        raise ValidationError("Must look like 30/minute.") from None


def storage(uri: str) -> None:
    try:
        storage_from_string(f"async+{uri}")
    except (ConfigurationError, ValueError):
        raise ValidationError("Must look like memory:// or valkey://127.0.0.1:6379.") from None


def _read_by(read: Callable[[str], T], text: str) -> T:
    """Whose `ValueError` says what to write instead, and repeats nothing."""
    try:
        return read(text)
    except ValueError as fault:
        raise ValidationError(str(fault)) from None


def named_routes(text: str) -> None:
    module, _, name = text.partition(":")
    if text and not (name.isidentifier() and all(map(str.isidentifier, module.split(".")))):
        raise ValidationError("Must look like my_api:routes, a module and a list in it.")


def served_database(url: str) -> None:
    _read_by(urls.read, url)


def listenable(host: str) -> None:
    _read_by(check_host, host)


class Proxies(fields.Field[str]):
    """Addresses and networks, comma-separated."""

    def _deserialize(self, value: Any, *args: object, **kwargs: object) -> str:
        return _read_by(read_proxies, str(value))


class Secrets(fields.Field[tuple[str, ...]]):
    """Comma-separated secrets."""

    def _deserialize(self, value: Any, *args: object, **kwargs: object) -> tuple[str, ...]:
        secrets = tuple(part.strip() for part in str(value).split(",") if part.strip())
        for secret in secrets:
            long_enough(secret)
        return secrets


def read(field: fields.Field[Any]) -> Any:
    """A setting that is read as `field`."""
    return dataclasses.field(metadata={"field": field})


def text(default: str, *checks: Callable[[str], object]) -> Any:
    return read(fields.String(load_default=default, validate=[*checks, printable]))


def integer(default: int, least: int, most: int) -> Any:
    return read(fields.Integer(load_default=default, validate=Range(least, most)))


def seconds(default: float, least: float, most: float) -> Any:
    return read(fields.Float(load_default=default, validate=Range(least, most)))
