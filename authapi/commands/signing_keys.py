"""The operator's commands for the keys in SIGNING_KEYS_FILE."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from authapi.commands.running import (
    FOLLOWED,
    Failure,
    Report,
    confirm,
    confirmed,
    settle_seconds,
    with_settings,
)
from authapi.commands.terminal import moment, table
from authapi.credentials import signing_key_file
from authapi.credentials.signing_keys import ALGORITHMS, SigningKey, from_jwk, new_jwk
from authapi.credentials.signing_schedule import PICK_UP_SECONDS
from authapi.file_rights import find_obstacle
from authapi.telemetry import audit
from settings import Settings, schedule_of


@click.command()
@click.option("--alg", type=click.Choice(ALGORITHMS), default="ES256", show_default=True)
@click.option("--now", "at_once", is_flag=True, help="It signs at once: for an emergency.")
@with_settings
def new_signing_key(settings: Settings, alg: str, at_once: bool) -> Report:
    """Add a key to sign with.

    It signs after it was published for long enough; the first one signs at once.
    """
    new = from_jwk(new_jwk(alg))
    with _changing(_path(settings)) as keys:
        keys[:] = schedule_of(settings).add(keys, new, int(time.time()), at_once)
    (new,) = [key for key in keys if key.kid == new.kid]
    audit.record("signing_key_made", kid=new.kid)
    return Report(
        _shown(new),
        f"Made {new.kid} ({alg}), which signs from {moment(new.signs_from)}."
        + (_WARNING if at_once else ""),
    )


_WARNING = """
Services that verify our tokens with a key set of before meet a key that they do not know, until
they ask for the set again."""


@click.command()
@with_settings
def list_signing_keys(settings: Settings) -> Report:
    """List the keys of the file with their states and dates."""
    keys = signing_key_file.read(_path(settings))
    header = ("KID", "ALG", "STATE", "SIGNS FROM", "STOPS", "RETIRES")
    return Report([_shown(key) for key in keys], table(header, map(_cells, keys)))


# A kid is base64url, and may begin with a dash.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("kid")
@confirmed
@with_settings
def retire_signing_key(settings: Settings, kid: str, yes: bool) -> Report:
    """Take a key out: every token that it signed is dead."""
    with _changing(_path(settings)) as keys:
        now = int(time.time())
        states = {key.kid: key.state(now) for key in keys}
        if kid not in states:
            raise Failure(f"There is no key {kid!r}; see list-signing-keys.")
        if states[kid] == "signing":
            raise Failure(f"{kid} is the key that signs; run `new-signing-key --now` first.")
        confirm(f"Retire {kid}, and refuse every token that it signed?", yes)
        keys[:] = schedule_of(settings).remove(keys, kid, now)
    time.sleep(settle_seconds(settings))
    audit.record("signing_key_retired", kid=kid)
    says = f"Retired {kid}; what it signed is refused.{FOLLOWED}"
    return Report({"kid": kid, "state": "retired"}, says)


def _path(settings: Settings) -> str:
    if not settings.signing_keys_file:
        raise Failure("Set SIGNING_KEYS_FILE to where the keys are, or shall be: there is none.")
    return settings.signing_keys_file


@contextmanager
def _changing(path: str) -> Iterator[list[SigningKey]]:
    """The keys of the file, which nobody else changes meanwhile. The list is written at the end.

    Then it waits until every worker has read the file, so that what is said next is true.
    """
    try:
        with signing_key_file.alone(path):
            is_new = not Path(path).exists()
            keys = [] if is_new else signing_key_file.read(path)
            yield keys
            signing_key_file.write(path, keys)
    except OSError as fault:
        why = find_obstacle(path, Path(path).resolve().parent) or fault
        raise Failure(f"The file of signing keys cannot be written: {why}") from None
    if not is_new:
        time.sleep(PICK_UP_SECONDS)


def _shown(key: SigningKey) -> dict[str, object]:
    return {"kid": key.kid, "alg": key.alg, "state": key.state(time.time()), **key.dates()}


def _cells(key: SigningKey) -> list[str]:
    dates = [key.dates().get(name) for name in ("signs_from", "signs_until", "retires_at")]
    return [key.kid, key.alg, key.state(time.time()), *map(moment, dates)]
