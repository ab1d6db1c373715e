"""The settings: read from the environment and `.env` once, every fault reported together."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from limits import parse
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validates_schema
from marshmallow.validate import Length, OneOf, Range

from authapi.addresses import check_host, read_proxies
from authapi.credentials.claims import MAX_ACCESS_SECONDS, MAX_SESSION_SECONDS
from authapi.credentials.signing_schedule import Schedule
from authapi.engines import urls

EMBEDDED_DATABASE = "sqlite:///auth.db"
ALIKE = 0.8
"""A name this near to a setting's is taken for a slip; others are other programs'."""
SECRET_BYTES = 32
"""RFC 7518, 3.2: an HS256 key has at least as many bytes as the hash it makes."""


class SettingsError(Exception):
    """The environment is at fault. The message lists every fault and repeats no value."""


def _long_enough(secret: str) -> None:
    if len(os.fsencode(secret)) < SECRET_BYTES:
        raise ValidationError(
            f"A secret needs {SECRET_BYTES} bytes or more; make one with `openssl rand -hex 32`."
        )


def _whole(secret: str) -> None:
    """What SECRET_KEY_FALLBACKS would read as another secret, or as several, once it is there."""
    if "," in secret or secret != secret.strip():
        raise ValidationError(
            "A secret has no comma, and no space at an end: it could never become a fallback."
        )


def _printable(text: str) -> None:
    if not text.isprintable():
        raise ValidationError("Must be printable text.")


def _rate(text: str) -> None:
    try:
        parse(text)
    except ValueError:
        raise ValidationError("Must look like 30/minute.") from None


def _storage(uri: str) -> None:
    try:
        storage_from_string(f"async+{uri}")
    except (ConfigurationError, ValueError):
        raise ValidationError("Must look like memory:// or valkey://127.0.0.1:6379.") from None


def _served_database(url: str) -> None:
    try:
        urls.read(url)
    except urls.BadURL as fault:
        raise ValidationError(str(fault)) from None


def _host(host: str) -> None:
    try:
        check_host(host)
    except ValueError as fault:
        raise ValidationError(str(fault)) from None


class Proxies(fields.Field[str]):
    """Addresses and networks, comma-separated."""

    def _deserialize(self, value: Any, *args: object, **kwargs: object) -> str:
        try:
            return read_proxies(str(value))
        except ValueError as fault:
            raise ValidationError(str(fault)) from None


class Secrets(fields.Field[tuple[str, ...]]):
    """Comma-separated secrets."""

    def _deserialize(self, value: Any, *args: object, **kwargs: object) -> tuple[str, ...]:
        secrets = tuple(part.strip() for part in str(value).split(",") if part.strip())
        for secret in secrets:
            _long_enough(secret)
        return secrets


def _read(field: fields.Field[Any]) -> Any:
    """A setting that is read as `field`."""
    return dataclasses.field(metadata={"field": field})


def _text(default: str, *checks: Callable[[str], object]) -> Any:
    return _read(fields.String(load_default=default, validate=[*checks, _printable]))


def _integer(default: int, least: int, most: int) -> Any:
    return _read(fields.Integer(load_default=default, validate=Range(least, most)))


def _seconds(default: float, least: float, most: float) -> Any:
    return _read(fields.Float(load_default=default, validate=Range(least, most)))


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator chose, under these names in capitals: each with its default, and then
    what it may be. Durations are in seconds."""

    secret_key: str = _text("", _long_enough, _whole)
    secret_key_fallbacks: tuple[str, ...] = _read(Secrets(load_default=()))
    signing_keys_file: str = _text("")
    jwks_max_age_seconds: int = _integer(3600, 1, 86_400)
    database_url: str = _text(EMBEDDED_DATABASE, _served_database)
    database_pool_size: int = _integer(8, 1, 1_000)
    host: str = _text("127.0.0.1", Length(max=253), _host)
    port: int = _integer(8000, 0, 65_535)
    workers: int = _integer(1, 1, 64)
    access_token_seconds: int = _integer(900, 1, MAX_ACCESS_SECONDS)
    refresh_token_seconds: int = _integer(604_800, 1, MAX_SESSION_SECONDS)
    refresh_grace_seconds: float = _seconds(10, 0, 300)
    leeway_seconds: float = _seconds(10, 0, 300)
    token_issuer: str = _text("auth-api")
    token_audience: str = _text("auth-api")
    login_failures_by_address: str = _text("30/minute", _rate)
    login_failures_together: str = _text("3000/minute", _rate)
    logins_by_client: str = _text("6000/minute", _rate)
    rate_limit_storage: str = _text("memory://", _storage)
    trusted_proxies: str = _read(Proxies(load_default=""))
    revocation_poll_seconds: float = _seconds(0.1, 0.01, 60)
    revocation_max_age_seconds: float = _seconds(0.5, 0, 60)
    log_level: str = _text("info", OneOf(["debug", "info", "warning", "error"]))

    @property
    def is_development(self) -> bool:
        """With nothing to sign with it makes a secret, and a demo client (development.py)."""
        return not self.secret_key and not self.signing_keys_file


class _Environment(Schema):
    class Meta:
        unknown = EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.data_key = field_name.upper()

    @validates_schema(skip_on_field_errors=False)
    def _needs_a_secret(self, data: dict[str, Any], **kwargs: object) -> None:
        """A secret that one process makes up is unknown to every other worker and node."""
        shared = data.get("workers", 1) > 1 or data.get("database_url") != EMBEDDED_DATABASE
        if shared and data.get("secret_key") == "" and not data.get("signing_keys_file"):
            raise ValidationError(
                "Needed with several workers or a database of your own; "
                "make one with `openssl rand -hex 32`.",
                "SECRET_KEY",
            )

    @post_load
    def _freeze(self, data: dict[str, Any], **kwargs: object) -> Settings:
        return Settings(**data)


SettingsSchema = _Environment.from_dict(
    {setting.name: setting.metadata["field"] for setting in dataclasses.fields(Settings)}
)


def _read_file(path: Path) -> Mapping[str, str | None]:
    try:
        return dotenv_values(path)
    except (OSError, ValueError) as fault:
        raise SettingsError(f"{path} cannot be read: {fault}") from None


def _set(environ: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if value}


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read `environ`; by default `.env` in the current folder, overruled by the environment.

    An empty value counts as unset. Raises `SettingsError` with a line for each fault.
    """
    if environ is None:
        environ = _set(_read_file(Path(".env"))) | _set(os.environ)
    try:
        settings: Settings = SettingsSchema().load(_set(environ))
    except ValidationError as error:
        faults = error.messages_dict.items()
        lines = [f"  {name}: {' '.join(messages)}" for name, messages in sorted(faults)]
        raise SettingsError("The settings are at fault:\n" + "\n".join(lines)) from None
    return settings


def misspelt(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What `environ` sets that looks like a setting and is none, each with the nearest one."""
    if environ is None:
        environ = _set(_read_file(Path(".env"))) | _set(os.environ)
    ours = [setting.name.upper() for setting in dataclasses.fields(Settings)]
    nearest = {
        name: get_close_matches(name.upper(), ours, n=1, cutoff=ALIKE)
        for name in environ.keys() - set(ours)
    }
    return {name: found[0] for name, found in sorted(nearest.items()) if found}


def schedule_of(settings: Settings) -> Schedule:
    """The same for the servers and for the commands: the dates are a promise between them."""
    return Schedule(
        settings.jwks_max_age_seconds, settings.refresh_token_seconds, settings.leeway_seconds
    )
