"""What the feed has told, for how long that may be believed, and what it says of a token."""

import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from auth_api_verifier.tokens import Claims, Refused, is_number

FORGET_EVERY_SECONDS = 10.0
_CURSOR = re.compile(r"[0-9A-Za-z._-]{1,250}")


class Answer(NamedTuple):
    """A 200 of the feed; the README of the service says what each member means. Without
    `fresh_for`, more pages follow, and nothing may be believed yet."""

    revoked: dict[str, float]
    keys: list[str]
    purged_until: float
    cursor: str
    keep: float
    lease: float
    fresh_for: float | None

    @classmethod
    def parse(cls, body: Any) -> "Answer":
        """Raises `ValueError` for what is no such answer."""
        try:
            answer = cls(*map(body.get, cls._fields))
            keys, spans = list(answer.keys), [answer.keep, answer.lease]
            times = [*spans, answer.purged_until, answer.fresh_for or 0, *answer.revoked.values()]
            has_times = all(map(is_number, times)) and min(spans) > 0
            has_keys = keys == answer.keys and all(isinstance(kid, str) for kid in keys)
            if has_times and has_keys and _CURSOR.fullmatch(answer.cursor):
                return answer
        except (AttributeError, TypeError) as fault:
            raise ValueError("no answer of the feed") from fault
        raise ValueError("no answer of the feed")


class Entry(NamedTuple):
    """When the id was ended, and until when that matters: by the wall clock, and by the steady
    one. It is kept until both are past."""

    when: float
    wall_until: float
    steady_until: float


@dataclass
class Revocations:
    """One thread merges and forgets while others may judge. Hence the order in which things are
    written here, and that a new one of these is begun rather than one is emptied."""

    entries: dict[str, Entry] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()
    purged_until: float = 0
    cursor: str = ""
    good_until: float = -math.inf
    """By the steady clock; what is held may be believed before."""
    _forget_at: float = -math.inf

    def merge(self, answer: Answer, wall: float, steady: float) -> bool:
        """Whether it told anything. A time never becomes an earlier one."""
        tells = bool(answer.revoked) or self.keys != set(answer.keys)
        for ended_id, when in answer.revoked.items():
            self._put(ended_id, Entry(when, when + answer.keep, steady + answer.keep))
        self.keys = frozenset(answer.keys)
        self.purged_until = max(self.purged_until, answer.purged_until)
        self.cursor = answer.cursor
        if steady >= self._forget_at:
            self._forget_at = steady + FORGET_EVERY_SECONDS
            self._forget(wall, steady)
        return tells

    def _put(self, ended_id: str, entry: Entry) -> None:
        known = self.entries.get(ended_id, entry)
        self.entries[ended_id] = Entry(*map(max, entry, known))

    def succeed(self, former: "Revocations") -> None:
        """Be as good as the former, which may know of more than the worker that was asked here."""
        for ended_id, entry in former.entries.items():
            self._put(ended_id, entry)
        self.believe_until(former.good_until)

    def believe_until(self, steady: float) -> None:
        self.good_until = max(self.good_until, steady)

    def _forget(self, wall: float, steady: float) -> None:
        """Drop each entry whose tokens are all dead by their `exp`. No clock has to be right for
        that: up to there, every token is refused from now on."""
        for ended_id, (_, wall_until, steady_until) in [*self.entries.items()]:
            if wall_until <= self.purged_until or (wall_until <= wall and steady_until <= steady):
                self.purged_until = max(self.purged_until, wall_until)
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
