"""What the callers of a service saw, and the one judge of whether that may be."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Operation = Literal[
    # requests
    "login",
    "use",  # of an access token, on a protected route
    "refresh",
    "logout",
    "everywhere",
    # of an access token, by a verifier elsewhere, which is in the place of the node; 200 where it
    # accepts, 401 where it refuses, 503 where it says that it does not know
    "offline check",
    # an operator's commands
    "disable",
    "enable",
    "revoke-key",
    "retire",  # a signing key
    # what a test does and finds
    "outage",  # the database is surely out of reach of the node
    "trouble",  # the node may be without its database, or be down: from the fault to its repair
    "integrity",  # of the database file
]
REQUESTS = frozenset({"login", "use", "refresh", "logout", "everywhere"})
ASKED = REQUESTS | {"offline check"}
UNANSWERED = 0
RECOVERY_SECONDS = 3
"""After the end of a fault, for how long a verifier elsewhere may still be unavailable."""
HUNG_UP = -1
"""The caller did not wait for the answer."""
EVERY_NODE = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that began at `start` and was over at `end`, on the clock of the test.

    `token` is the id of the refresh token that was sent, `successor` of the one in the answer; of
    an offline check, it is the id of the access token. `key` is the id of the client key that a
    login was tried with, or that was revoked; of the signing key that signed what a verifier checks
    offline, or that was retired. `is_strict` if the answer waits for the verifiers elsewhere.
    """

    start: float
    end: float
    node: str
    operation: Operation
    status: int
    client: str = ""
    session: str = ""
    token: str = ""
    successor: str = ""
    has_retry_after: bool = False
    key: str = ""
    is_strict: bool = False

    def __str__(self) -> str:
        of = f" of session {self.session}" if self.session else f" of client {self.client}"
        of += f" with key {self.key}" if self.key else ""
        return (
            f"{self.operation}{of} on {self.node} from {self.start:.3f} to {self.end:.3f}"
            f" got {self.status}"
        )


def check(
    events: Sequence[Event],
    grace_seconds: float = 10,
    max_age_seconds: float = 0.5,
    lease_seconds: float = 1.5,
    is_shared: bool = True,
) -> list[str]:
    """Every way in which the history breaks what must always hold; none for a good one.

    If the database `is_shared` by several workers, an answer has waited for all of them.

    What is not certain is not judged: a log-out without an answer may have ended the session or
    not, and of two things that overlap either may have come first.
    """
    history = _History(events)
    return [
        *_ended_sessions(history),
        *_one_successor(history, grace_seconds),
        *_disabled_clients(history),
        *_revoked_keys(history),
        *_outages(history, max_age_seconds, lease_seconds),
        *_answers(history),
        *_refused_without_cause(history),
        *_ended_elsewhere(history, lease_seconds - (max_age_seconds if is_shared else 0)),
        *_accepted_again(history),
        *_unavailable_elsewhere(history),
    ]


class _History:
    """The events, and what several rules ask of them."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = sorted(events, key=lambda event: event.start)
        self.by_operation: dict[str, list[Event]] = defaultdict(list)
        self.refreshes: dict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            self.by_operation[event.operation].append(event)
            if event.operation == "refresh":
                self.refreshes[event.token].append(event)
        self.logins = {
            event.session: event for event in self.by_operation["login"] if event.status == 200
        }
        self.sessions: dict[str, list[Event]] = defaultdict(list)
        self.begun_with: dict[str, list[Event]] = defaultdict(list)
        for login in self.logins.values():
            self.sessions[login.client].append(login)
            self.begun_with[login.key].append(login)

    def first_ok(self, token: str) -> Event | None:
        """The answer by which it is certain that the refresh token is spent."""
        oks = [event for event in self.refreshes.get(token, ()) if event.status == 200]
        return min(oks, key=lambda event: event.end, default=None)

    def is_refused_reuse(self, event: Event) -> bool:
        if (event.operation, event.status) != ("refresh", 401):
            return False
        spent = self.first_ok(event.token)
        return spent is not None and spent.end < event.start

    def acknowledged_ends(self) -> Iterator[tuple[str, Event]]:
        """Sessions, and what surely ended them, once it was answered."""
        for event in self.events:
            if (event.operation, event.status) == ("logout", 200) or self.is_refused_reuse(event):
                yield event.session, event
            elif event.operation in ("everywhere", "disable") and event.status == 200:
                for login in self.sessions[event.client]:
                    # A login beside "everywhere" may be of either era. One that got in although
                    # the client was being disabled came before.
                    is_before = (
                        login.end < event.start
                        if event.operation == "everywhere"
                        else login.start < event.end
                    )
                    if is_before:
                        yield login.session, event
            elif event.operation == "revoke-key" and event.status == 200:
                for login in self.begun_with[event.key]:
                    if login.start < event.end:
                        yield login.session, event

    def attempted_ends(self) -> dict[str, float]:
        """Sessions, and since when something may have ended them."""
        since: dict[str, float] = {}

        def note(session: str, start: float) -> None:
            since[session] = min(start, since.get(session, start))

        for event in self.events:
            if event.operation == "logout":
                note(event.session, event.start)
            elif event.operation in ("everywhere", "disable"):
                for login in self.sessions[event.client]:
                    note(login.session, event.start)
            elif event.operation == "revoke-key":
                for login in self.begun_with[event.key]:
                    note(login.session, event.start)
        for refreshes in self.refreshes.values():
            for repeat in refreshes[1:]:
                note(repeat.session, repeat.start)
        return since


def _ended_sessions(history: _History) -> Iterator[str]:
    """After a log-out, "everywhere", a disabling, a revocation of the key or a reuse is answered,
    nothing of it is 200.

    However often a process was killed, or the database restarted, in between.
    """
    ended: dict[str, Event] = {}
    for session, event in history.acknowledged_ends():
        if session not in ended or event.end < ended[session].end:
            ended[session] = event
    for event in history.events:
        end = ended.get(event.session)
        is_granted = event.operation in ("use", "refresh") and event.status == 200
        if end and is_granted and event.start > end.end:
            yield f"ended session: {event}, after {end}"


def _one_successor(history: _History, grace_seconds: float) -> Iterator[str]:
    """All 2xx answers to a refresh token name one successor, and there is no second branch."""
    for token, refreshes in history.refreshes.items():
        oks = [event for event in refreshes if event.status == 200]
        successors = {event.successor for event in oks}
        if len(successors) > 1 or token in successors:
            yield f"successor: {len(oks)} answers to a token name {len(successors)}: {oks[0]}"
        spent = history.first_ok(token)
        if spent is None:
            continue
        successor_spent = history.first_ok(spent.successor)
        for event in oks:
            if successor_spent and event.start > successor_spent.end:
                yield f"second branch: {event}, its successor is spent by {successor_spent}"
            elif event.start > spent.end + grace_seconds:
                yield f"grace: {event}, long after {spent}"


def _disabled_clients(history: _History) -> Iterator[str]:
    """A disabled client is not let in once the command says done."""
    commands = history.by_operation["disable"] + history.by_operation["enable"]
    done = sorted((event for event in commands), key=lambda event: event.start)
    for login in history.logins.values():
        last: Event | None = None
        for command in done:
            if command.client == login.client and command.start < login.end:
                is_sure = command.status == 200 and command.end < login.start
                last = command if command.operation == "enable" or is_sure else last
        if last and last.operation == "disable":
            yield f"disabled client: {login}, after {last}"


def _revoked_keys(history: _History) -> Iterator[str]:
    """A revoked key opens nothing once the command says done."""
    for revocation in history.by_operation["revoke-key"]:
        for login in history.begun_with[revocation.key]:
            if revocation.status == 200 and revocation.end < login.start:
                yield f"revoked key: {login}, after {revocation}"


def _outages(history: _History, max_age_seconds: float, lease_seconds: float) -> Iterator[str]:
    """The database is out of reach: no 200 but for what a copy that is fresh enough tells."""
    leases = {"login": max_age_seconds, "use": max_age_seconds, "offline check": lease_seconds}
    for outage in history.by_operation["outage"]:
        for event in history.events:
            if event.operation in ASKED and event.status == 200 and _same_node(outage, event):
                lease = leases.get(event.operation, 0)
                if event.start > outage.start + lease and event.end < outage.end:
                    yield f"outage: {event}, out of reach {outage.start:.3f} to {outage.end:.3f}"


def _answers(history: _History) -> Iterator[str]:
    """No 5xx but 503, that with Retry-After and for a reason; and no request without an answer."""
    troubles = history.by_operation["trouble"]
    for event in history.events:
        if event.operation == "integrity" and event.status != 200:
            yield f"integrity: {event}"
        if event.operation not in REQUESTS:
            continue
        if event.status not in (200, 401, 503, UNANSWERED, HUNG_UP):
            yield f"status: {event}"
        if event.status == 503 and not event.has_retry_after:
            yield f"no Retry-After: {event}"
        if event.status in (503, UNANSWERED) and not any(
            _same_node(trouble, event) and trouble.start < event.end and event.start < trouble.end
            for trouble in troubles
        ):
            yield f"no trouble: {event}"


def _refused_without_cause(history: _History) -> Iterator[str]:
    """What was granted counts until something ends it: a service that refuses all is not safe."""
    attempted = history.attempted_ends()
    shut: dict[tuple[str, str], float] = {}
    for command in history.by_operation["retire"]:
        shut.setdefault(("signing key", command.key), command.start)
    for command in history.by_operation["disable"]:
        shut.setdefault(("client", command.client), command.start)
    for command in history.by_operation["revoke-key"]:
        shut.setdefault(("key", command.key), command.start)
    for event in history.events:
        if event.operation not in ASKED or event.status != 401:
            continue
        if event.operation == "login":
            causes = (("client", event.client), ("key", event.key))
            since = min((shut[cause] for cause in causes if cause in shut), default=None)
        elif event.operation == "logout":
            since = None  # to repeat it is 200
        elif event.operation == "offline check":
            began = [attempted.get(event.session), shut.get(("signing key", event.key))]
            since = min((start for start in began if start is not None), default=None)
        else:
            since = attempted.get(event.session)
        if since is None or event.end < since:
            yield f"no cause: {event}"


def _ended_elsewhere(history: _History, bound_seconds: float) -> Iterator[str]:
    """No verifier elsewhere accepts what was ended, from so many seconds after the answer; and
    none at all from the answer on, where that has waited for them."""
    dead_from: dict[str, tuple[float, Event]] = {}

    def note(name: str, event: Event) -> None:
        waited = event.is_strict or event.operation in ("disable", "revoke-key", "retire")
        since = event.end + (0 if waited else bound_seconds)
        if name not in dead_from or since < dead_from[name][0]:
            dead_from[name] = since, event

    for session, event in history.acknowledged_ends():
        note(f"session {session}", event)
    for event in history.by_operation["retire"]:
        if event.status == 200:
            note(f"key {event.key}", event)
    for event in history.by_operation["offline check"]:
        for name in (f"session {event.session}", f"key {event.key}"):
            since, end = dead_from.get(name, (math.inf, event))
            if event.status == 200 and event.start > since:
                late = f"{1000 * (event.start - since):.0f} ms too late"
                yield f"ended elsewhere: {event}, {late} after {end}"


def _accepted_again(history: _History) -> Iterator[str]:
    """What a verifier has refused it never accepts again."""
    refused: dict[tuple[str, str], Event] = {}
    for event in sorted(history.by_operation["offline check"], key=lambda event: event.end):
        name = event.node, event.token
        if event.status == 401:
            refused.setdefault(name, event)
        elif event.status == 200 and name in refused and event.start > refused[name].end:
            yield f"accepted again: {event}, after {refused[name]}"


def _unavailable_elsewhere(history: _History) -> Iterator[str]:
    """A verifier knows, but for a fault, and for a while after it."""
    for event in history.by_operation["offline check"]:
        if event.status == 503 and not any(
            _same_node(trouble, event)
            and trouble.start < event.end
            and event.start < trouble.end + RECOVERY_SECONDS
            for trouble in history.by_operation["trouble"]
        ):
            yield f"unavailable: {event}"


def _same_node(fault: Event, event: Event) -> bool:
    return fault.node in (EVERY_NODE, event.node)
