"""When a key signs and until when it verifies: each date is worked out once, and kept with the key.

A key is published before it signs, so that a verifier that keeps our key set for as long as we let
it has met the key by then. It verifies until the last token that it signed is over.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from authapi.credentials.signing_keys import SigningKey

WATCH_SECONDS = 0.5
"""How often a worker looks at the file."""
PICK_UP_SECONDS = 2
"""After that long each worker that sees a new file has read it."""


def live(keys: Sequence[SigningKey], now: float) -> list[SigningKey]:
    """Those whose time is not over."""
    return [key for key in keys if key.state(now) != "retired"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The durations that the dates are worked out from, in seconds."""

    max_age_seconds: int
    refresh_seconds: int
    leeway_seconds: float

    @property
    def publish_seconds(self) -> int:
        """The second half is for verifiers; the first is there to bring the file to all nodes."""
        return 2 * self.max_age_seconds + math.ceil(self.leeway_seconds) + PICK_UP_SECONDS

    @property
    def keep_seconds(self) -> int:
        """What it signed lives no longer than a session does."""
        return self.refresh_seconds + math.ceil(self.leeway_seconds) + PICK_UP_SECONDS

    def add(
        self, keys: Sequence[SigningKey], new: SigningKey, now: int, at_once: bool
    ) -> list[SigningKey]:
        """With the new key, and without those whose time is over."""
        kept = live(keys, now)
        if not any(key.state(now) == "signing" for key in kept):
            start = now  # nobody has a set of ours yet, or it was of no use
        elif at_once:
            start = now + PICK_UP_SECONDS
        else:
            start = now + self.publish_seconds
        return self._in_turn([*kept, replace(new, published_at=now, signs_from=start)], now)

    def remove(self, keys: Sequence[SigningKey], kid: str, now: int) -> list[SigningKey]:
        return self._in_turn([key for key in keys if key.kid != kid], now)

    def _in_turn(self, keys: list[SigningKey], now: int) -> list[SigningKey]:
        """Each signs until the next one does. What has happened keeps the dates that it has."""
        keys.sort(key=lambda key: key.signs_from)
        for index, key in enumerate(keys):
            if key.signs_until > now:
                is_last = index + 1 == len(keys)
                until = math.inf if is_last else keys[index + 1].signs_from
                keys[index] = replace(key, signs_until=until, retires_at=until + self.keep_seconds)
        return keys

    def max_age(self, keys: Sequence[SigningKey], now: float) -> int:
        """How long a verifier may keep a set: never past the time when one of its keys retires."""
        return math.floor(min([self.max_age_seconds, *[key.retires_at - now for key in keys]]))
