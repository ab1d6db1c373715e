"""What the feed has told, for how long that may be believed, and what it says of a token."""

import math
import re
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple

from auth_api_verifier.tokens import Claims, Refused, is_number

FORGET_EVERY_SECONDS = 10.0
_CURSOR = re.compile(r"[0-9A-Za-z._-]{1,250}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200 of the feed; the README of the service says what each member means. Without
    `fresh_for`, more pages follow, and nothing may be believed yet."""

    revoked: dict[str, float]
    keys: frozenset[str]
    purged_until: float
    cursor: str
    keep: float
    lease: float
    fresh_for: float | None = None

    @classmethod
    def parse(cls, body: Any) -> "Answer":
        """Raises `ValueError` for what is no such answer."""
        try:
            revoked, keys, cursor = body["revoked"], body["keys"], body["cursor"]
            numbers = {name: body[name] for name in ("purged_until", "keep", "lease")}
            fresh_for = body.get("fresh_for")
            whens = revoked.values()
        except (AttributeError, KeyError, TypeError) as fault:
            raise ValueError(f"no answer of the feed: {fault!r}") from fault
        if not all(map(is_number, [*numbers.values(), *whens, fresh_for or 0])):
            raise ValueError("no answer of the feed: a time that is no number")
        if min(numbers["keep"], numbers["lease"]) <= 0:
            raise ValueError("no answer of the feed: a duration that is none")
        if not isinstance(keys, list) or not all(isinstance(kid, str) for kid in keys):
            raise ValueError("no answer of the feed: keys that are no texts")
        if not isinstance(cursor, str) or not _CURSOR.fullmatch(cursor):
            raise ValueError("no answer of the feed: a cursor that is none")
        return cls(revoked, frozenset(keys), cursor=cursor, fresh_for=fresh_for, **numbers)


class Entry(NamedTuple):
    """When the id was ended, and until when that matters: by the wall clock, and by the steady
    one. It is kept until both are past."""

    when: float
    wall_until: float
    steady_until: float


@dataclass
class Revocations:
    """One thread merges and forgets while others may judge. Hence the order in which things are
    written here, and that a 410 makes a new one of these rather than to empty this one."""

    entries: dict[str, Entry] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()
    purged_until: float = 0
    cursor: str = ""
    good_until: float = -math.inf
    """By the steady clock; what is held may be believed before."""
    _forget_at: float = -math.inf
    _raising: Lock = field(default_factory=Lock)

    def merge(self, answer: Answer, wall: float, steady: float) -> bool:
        """Whether it told anything. A time never becomes an earlier one."""
        tells = bool(answer.revoked) or answer.keys != self.keys
        for ended_id, when in answer.revoked.items():
            entry = Entry(when, when + answer.keep, steady + answer.keep)
            known = self.entries.get(ended_id)
            self.entries[ended_id] = Entry(*map(max, entry, known)) if known else entry
        self.keys = answer.keys
        self.raise_purged_until(answer.purged_until)
        self.cursor = answer.cursor
        if steady >= self._forget_at:
            self._forget_at = steady + FORGET_EVERY_SECONDS
            self._forget(wall, steady)
        return tells

    def believe_until(self, steady: float) -> None:
        self.good_until = max(self.good_until, steady)

    def raise_purged_until(self, until: float) -> None:
        with self._raising:
            self.purged_until = max(self.purged_until, until)

    def _forget(self, wall: float, steady: float) -> None:
        """Drop each entry whose tokens are all dead by their `exp`. No clock has to be right for
        that: up to there, every token is refused from now on."""
        over = [
            (ended_id, entry.wall_until)
            for ended_id, entry in self.entries.items()
            if entry.wall_until <= self.purged_until
            or (entry.steady_until <= steady and entry.wall_until <= wall)
        ]
        for ended_id, until in over:
            self.raise_purged_until(until)
            del self.entries[ended_id]

    def check(self, claims: Claims) -> None:
        """Raises `Refused` if the token was ended, or its key is not in force."""
        entries = self.entries
        if claims.sid in entries or claims.jti in entries or claims.key_id in entries:
            raise Refused("ended")
        client = entries.get(claims.sub)
        if client and client.when > claims.era:
            raise Refused("all sessions of the client were ended")
        if claims.exp <= self.purged_until:
            raise Refused("long over")
        if claims.kid not in self.keys:
            raise Refused("its key is not in force")
