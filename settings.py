"""The settings: read from the environment and `.env` once, every fault reported together."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validates_schema
from marshmallow.validate import Length, OneOf

from authapi.credentials.claims import MAX_ACCESS_SECONDS, MAX_SESSION_SECONDS
from authapi.credentials.signing_schedule import Schedule
from authapi.file_rights import find_obstacle
from authapi.setting_fields import (
    Proxies,
    Secrets,
    integer,
    listenable,
    long_enough,
    named_routes,
    rate,
    read,
    seconds,
    served_database,
    storage,
    text,
    whole,
)

EMBEDDED_DATABASE = "sqlite:///auth.db"
ALIKE = 0.8
"""A name this near to a setting's is taken for a slip; others are other programs'."""


class SettingsError(Exception):
    """The environment is at fault. The message lists every fault and repeats no value."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator chose, under these names in capitals: each with its default, and then
    what it may be. Durations are in seconds."""

    secret_key: str = text("", long_enough, whole)
    secret_key_fallbacks: tuple[str, ...] = read(Secrets(load_default=()))
    signing_keys_file: str = text("")
    jwks_max_age_seconds: int = integer(3600, 1, 86_400)
    database_url: str = text(EMBEDDED_DATABASE, served_database)
    database_pool_size: int = integer(8, 1, 1_000)
    host: str = text("127.0.0.1", Length(max=253), listenable)
    port: int = integer(8000, 0, 65_535)
    workers: int = integer(1, 1, 64)
    access_token_seconds: int = integer(900, 1, MAX_ACCESS_SECONDS)
    refresh_token_seconds: int = integer(604_800, 1, MAX_SESSION_SECONDS)
    refresh_grace_seconds: float = seconds(10, 0, 300)
    leeway_seconds: float = seconds(10, 0, 300)
    token_issuer: str = text("auth-api")
    token_audience: str = text("auth-api")
    login_failures_by_address: str = text("30/minute", rate)
    login_failures_together: str = text("3000/minute", rate)
    logins_by_client: str = text("6000/minute", rate)
    rate_limit_storage: str = text("memory://", storage)
    trusted_proxies: str = read(Proxies(load_default=""))
    routes: str = text("", named_routes)
    management: str = text("off", OneOf(["off", "on"]))
    metrics_host: str = text("127.0.0.1", Length(max=253), listenable)
    metrics_port: int = integer(0, 0, 65_535)
    revocation_poll_seconds: float = seconds(0.1, 0.01, 60)
    revocation_max_age_seconds: float = seconds(0.5, 0, 60)
    feed_lease_seconds: float = seconds(1.5, 1, 60)
    feed_max_held: int = integer(2_000, 1, 1_000_000)
    log_level: str = text("info", OneOf(["debug", "info", "warning", "error"]))

    @property
    def secrets(self) -> list[str]:
        """Those that there are, the newest first."""
        return [each for each in (self.secret_key, *self.secret_key_fallbacks) if each]

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

    @validates_schema
    def _outlasts_what_it_is_made_of(self, data: dict[str, Any], **kwargs: object) -> None:
        """Verifiers elsewhere, which there are where keys are published, lease what the workers
        have read. So their lease must bear a reading that is late."""
        least = 3 * data["revocation_max_age_seconds"]
        if data["signing_keys_file"] and data["feed_lease_seconds"] < least:
            raise ValidationError(
                "Must be at least three times REVOCATION_MAX_AGE_SECONDS.", "FEED_LEASE_SECONDS"
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
        why = find_obstacle(path, writing=False) or fault
        raise SettingsError(f"{path} cannot be read: {why}") from None


def _set(environ: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if value}


def _environment() -> dict[str, str]:
    """`.env` in the current folder, overruled by the environment. Raises `SettingsError`."""
    return _set(_read_file(Path(".env"))) | _set(os.environ)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read `environ`; by default `.env` in the current folder, overruled by the environment.

    An empty value counts as unset. Raises `SettingsError` with a line for each fault.
    """
    given = _environment() if environ is None else _set(environ)
    try:
        settings: Settings = SettingsSchema().load(given)
    except ValidationError as error:
        faults = error.messages_dict.items()
        lines = [f"  {name}: {' '.join(messages)}" for name, messages in sorted(faults)]
        raise SettingsError("The settings are at fault:\n" + "\n".join(lines)) from None
    return settings


def misspelt(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What `environ` sets that looks like a setting and is none, each with the nearest one."""
    given = _environment() if environ is None else environ
    ours = [setting.name.upper() for setting in dataclasses.fields(Settings)]
    nearest = {
        name: get_close_matches(name.upper(), ours, n=1, cutoff=ALIKE)
        for name in given.keys() - set(ours)
    }
    return {name: found[0] for name, found in sorted(nearest.items()) if found}


def schedule_of(settings: Settings) -> Schedule:
    """The same for the servers and for the commands: the dates are a promise between them."""
    return Schedule(
        settings.jwks_max_age_seconds, settings.refresh_token_seconds, settings.leeway_seconds
    )
