"""The operator's commands for the keys in SIGNING_KEYS_FILE."""

import time
from collections.abc import Callable
from pathlib import Path

import click

from authapi.commands.running import Failure, Report, confirm, confirmed, reported
from authapi.credentials import signing_key_file as key_file
from authapi.credentials.signing_keys import ALGORITHMS, SigningKey, from_jwk, new_jwk
from authapi.credentials.signing_schedule import PICK_UP_SECONDS, Schedule
from authapi.telemetry import audit
from settings import Settings, SettingsError, load_settings, schedule_of

Change = Callable[[list[SigningKey], Schedule, int], list[SigningKey]]


@click.command()
@click.option("--alg", type=click.Choice(ALGORITHMS), default="ES256", show_default=True)
@click.option("--now", "at_once", is_flag=True, help="It signs at once: for an emergency.")
@reported
def new_signing_key(alg: str, at_once: bool) -> Report:
    """Add a key, which signs after it was published for long enough; the first signs at once."""
    new = from_jwk(new_jwk(alg))

    def add(keys: list[SigningKey], schedule: Schedule, now: int) -> list[SigningKey]:
        return schedule.add(keys, new, now, at_once)

    keys = _change(add)
    new = next(key for key in keys if key.kid == new.kid)
    audit.record("signing_key_made", kid=new.kid)
    return Report(
        _shown(new),
        f"Made {new.kid} ({alg}), which signs from {_time(new.signs_from)}."
        + (_WARNING if at_once else ""),
    )


_WARNING = """
Services that verify our tokens with a key set of before meet a key that they do not know, until
they ask for the set again."""


@click.command()
@reported
def list_signing_keys() -> Report:
    """List the keys of the file with their states and dates."""
    keys = _run(lambda settings: key_file.read(settings.signing_keys_file))
    return Report([_shown(key) for key in keys], "\n".join(map(_line, keys)))


# A kid is base64url, and may begin with a dash.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("kid")
@confirmed
@reported
def retire_signing_key(kid: str, yes: bool) -> Report:
    """Take a key out of the file: every token that it signed is dead."""

    def remove(keys: list[SigningKey], schedule: Schedule, now: int) -> list[SigningKey]:
        states = {key.kid: key.state(now) for key in keys}
        if kid not in states:
            raise Failure(f"There is no key {kid!r}; see list-signing-keys.")
        if states[kid] == "signing":
            raise Failure(f"{kid} is the key that signs; run `new-signing-key --now` first.")
        confirm(f"Retire {kid}, and refuse every token that it signed?", yes)
        return schedule.remove(keys, kid, now)

    _change(remove)
    audit.record("signing_key_retired", kid=kid)
    return Report({"kid": kid, "state": "retired"}, f"Retired {kid}; what it signed is refused.")


def _change(change: Change) -> list[SigningKey]:
    """Change the file, and wait until every worker has read it: what is said next is true."""

    def write(settings: Settings) -> list[SigningKey]:
        path = settings.signing_keys_file
        schedule = schedule_of(settings)
        with key_file.alone(path):
            is_new = not Path(path).exists()
            keys = change([] if is_new else key_file.read(path), schedule, int(time.time()))
            key_file.write(path, keys)
        if not is_new:
            time.sleep(PICK_UP_SECONDS)
        return keys

    return _run(write)


def _run(action: Callable[[Settings], list[SigningKey]]) -> list[SigningKey]:
    try:
        settings = load_settings()
        if not settings.signing_keys_file:
            raise Failure(
                "Set SIGNING_KEYS_FILE to where the keys are, or shall be: there is none."
            )
        return action(settings)
    except (SettingsError, key_file.KeyFileError) as error:
        raise Failure(str(error)) from None
    except OSError as fault:
        raise Failure(f"The file of signing keys cannot be written: {fault}") from None


def _shown(key: SigningKey) -> dict[str, object]:
    return {"kid": key.kid, "alg": key.alg, "state": key.state(time.time()), **key.dates()}


def _line(key: SigningKey) -> str:
    dates = "  ".join(f"{name} {_time(date)}" for name, date in key.dates().items())
    return f"{key.kid}  {key.alg:7}  {key.state(time.time()):12}  {dates}"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
