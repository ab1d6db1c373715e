"""The judge itself: it lets a good history pass, and each broken rule is seen."""

from typing import Any

import pytest

from tests.faults.history import EVERY_NODE, UNANSWERED, Event, Operation, check


def event(start: float, operation: Operation, status: int = 200, **changes: Any) -> Event:
    """A request that takes a tenth of a second."""
    given: dict[str, Any] = {"node": "a", "client": "c", "session": "s"}
    return Event(start, start + 0.1, operation=operation, status=status, **given | changes)


def refresh(start: float, token: str, successor: str, **changes: Any) -> Event:
    return event(
        start, "refresh", 200 if successor else 401, token=token, successor=successor, **changes
    )


def window(operation: Operation, start: float, end: float, node: str = EVERY_NODE) -> Event:
    return Event(start, end, node, operation, 200)


LOGIN = event(0, "login")
ROTATED = [LOGIN, refresh(1, "r0", "r1"), refresh(2, "r1", "r2")]
TROUBLE = window("trouble", 4, 9)

GOOD: dict[str, list[Event]] = {
    "a life": [*ROTATED, event(3, "use"), event(4, "logout"), event(5, "use", 401, node="b")],
    "a repeat in the grace": [LOGIN, refresh(1, "r0", "r1"), refresh(2, "r0", "r1")],
    "a use beside the log-out": [LOGIN, event(1, "logout"), event(1.05, "use")],
    "a log-out that is not answered": [
        LOGIN,
        event(5, "logout", UNANSWERED),
        TROUBLE,
        event(10, "use"),
    ],
    "a reuse": [*ROTATED, refresh(3, "r0", ""), event(4, "use", 401)],
    "a login after everywhere": [
        LOGIN,
        event(1, "everywhere"),
        event(2, "login", session="t"),
        event(3, "use", session="t"),
        event(3, "use", 401),
    ],
    "a login after an enabling": [
        LOGIN,
        event(1, "disable"),
        event(2, "login", 401, session=""),
        event(3, "enable"),
        event(4, "login", session="t"),
        event(5, "use", session="t"),
    ],
    "a rotation, and the old key revoked": [
        event(0, "login", key="k"),
        event(1, "login", session="t", key="l"),
        event(2, "revoke-key", key="k"),
        event(3, "use", 401),
        refresh(3, "r0", ""),
        event(3, "login", 401, session="", key="k"),
        event(3, "login", session="u", key="l"),
        event(4, "use", session="t"),
        event(4, "use", session="u"),
    ],
    "a login beside the revocation of its key": [
        event(1, "login", key="k"),
        event(1.05, "revoke-key", key="k"),
        event(1.06, "use"),
    ],
    "a revocation that is not answered": [
        event(0, "login", key="k"),
        event(1, "revoke-key", 503, key="k"),
        event(2, "use"),
        event(2, "login", session="t", key="k"),
        event(3, "use", 401),
        event(3, "login", 401, session="", key="k"),
    ],
    "an outage": [
        LOGIN,
        TROUBLE,
        window("outage", 5, 8),
        event(5.2, "use"),  # the copy is fresh
        event(5.2, "login", session="t"),
        event(6, "use", 503, has_retry_after=True),
        event(7, "refresh", 503, has_retry_after=True, token="r0"),
        event(8.5, "use"),
    ],
    "an outage of another node": [LOGIN, window("outage", 5, 8, "b"), event(6, "use")],
}
ENDED = "ended session"
BAD: dict[str, tuple[str, list[Event]]] = {
    "used after its log-out": (ENDED, [LOGIN, event(1, "logout"), event(2, "use", node="b")]),
    "refreshed after its log-out": (ENDED, [LOGIN, event(1, "logout"), refresh(2, "r0", "r1")]),
    "used after a log-out and a kill": (
        ENDED,
        [LOGIN, event(1, "logout"), window("trouble", 2, 3), event(4, "use")],
    ),
    "used after everywhere": (ENDED, [LOGIN, event(1, "everywhere"), event(2, "use")]),
    "used after the disabling": (ENDED, [LOGIN, event(1, "disable"), event(2, "use")]),
    "let in beside the disabling, and used": (
        ENDED,
        [event(1, "login"), event(1.05, "disable"), event(2, "use")],
    ),
    "used after a reuse": (ENDED, [*ROTATED, refresh(3, "r0", ""), event(4, "use")]),
    "refreshed after a reuse": (ENDED, [*ROTATED, refresh(3, "r0", ""), refresh(4, "r2", "r3")]),
    "used for revoked in an outage": (
        ENDED,
        [LOGIN, event(1, "logout"), window("outage", 1.5, 8), event(1.7, "use")],
    ),
    "two successors": ("successor", [LOGIN, refresh(1, "r0", "r1"), refresh(1, "r0", "x")]),
    "no rotation": ("successor", [LOGIN, refresh(1, "r0", "r0")]),
    "a second branch": ("second branch", [*ROTATED, refresh(3, "r0", "r1")]),
    "a repeat after the grace": ("grace", [LOGIN, refresh(1, "r0", "r1"), refresh(12, "r0", "r1")]),
    "a login of a disabled client": ("disabled", [event(1, "disable"), event(2, "login")]),
    "disabled again": (
        "disabled",
        [event(1, "disable"), event(2, "enable"), event(3, "disable"), event(4, "login")],
    ),
    "used after its key was revoked": (
        ENDED,
        [event(0, "login", key="k"), event(1, "revoke-key", key="k"), event(2, "use", node="b")],
    ),
    "refreshed after its key was revoked": (
        ENDED,
        [event(0, "login", key="k"), event(1, "revoke-key", key="k"), refresh(2, "r0", "r1")],
    ),
    "let in beside the revocation of its key, and used": (
        ENDED,
        [event(1, "login", key="k"), event(1.05, "revoke-key", key="k"), event(2, "use")],
    ),
    "a login with a revoked key": (
        "revoked key",
        [event(1, "revoke-key", key="k"), event(2, "login", key="k")],
    ),
    "a session of another key refused": (
        "no cause",
        [event(0, "login", key="l"), event(1, "revoke-key", key="k"), event(2, "use", 401)],
    ),
    "a login with another key refused": (
        "no cause",
        [event(1, "revoke-key", key="k"), event(2, "login", 401, session="", key="l")],
    ),
    "a key refused before it was revoked": (
        "no cause",
        [event(1, "login", 401, session="", key="k"), event(2, "revoke-key", key="k")],
    ),
    "used when the copy is too old": ("outage", [LOGIN, window("outage", 5, 8), event(6, "use")]),
    "a login without a database": ("outage", [window("outage", 5, 8), event(6, "login")]),
    "a log-out without a database": (
        "outage",
        [LOGIN, window("outage", 5, 8, "a"), event(5.2, "logout")],
    ),
    "a server error": ("status", [LOGIN, event(5, "use", 500), TROUBLE]),
    "a good request refused": ("status", [LOGIN, event(5, "refresh", 400, token="r0")]),
    "503 without Retry-After": ("no Retry-After", [LOGIN, TROUBLE, event(5, "use", 503)]),
    "503 without trouble": ("no trouble", [LOGIN, event(5, "use", 503, has_retry_after=True)]),
    "503 for another's trouble": (
        "no trouble",
        [LOGIN, window("trouble", 4, 9, "b"), event(5, "use", 503, has_retry_after=True)],
    ),
    "no answer": ("no trouble", [LOGIN, event(5, "use", UNANSWERED)]),
    "a broken file": ("integrity", [event(1, "integrity", 500)]),
    "a use refused": ("no cause", [LOGIN, event(1, "use", 401), event(2, "logout")]),
    "a first refresh refused": ("no cause", [LOGIN, refresh(1, "r0", "")]),
    "a rotation lost": ("no cause", [LOGIN, refresh(1, "r0", "r1"), refresh(2, "r1", "")]),
    "a log-out refused": ("no cause", [LOGIN, event(1, "logout"), event(2, "logout", 401)]),
    "a login refused": ("no cause", [event(1, "login", 401)]),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_passes(name: str) -> None:
    assert check(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_a_broken_rule_is_seen(name: str) -> None:
    rule, events = BAD[name]
    violations = check(events)
    assert len(violations) == 1
    assert violations[0].startswith(rule)


def test_the_order_of_the_records_is_of_no_account() -> None:
    for rule, events in BAD.values():
        assert any(violation.startswith(rule) for violation in check(events[::-1]))


def test_the_grace_and_the_lease_are_as_told() -> None:
    repeat = [LOGIN, refresh(1, "r0", "r1"), refresh(2, "r0", "r1")]
    assert check(repeat, grace_seconds=1) == []
    assert len(check(repeat, grace_seconds=0.5)) == 1
    late = [LOGIN, window("outage", 5, 8), event(6, "use")]
    assert check(late, max_age_seconds=2) == []
    assert len(check(late, max_age_seconds=0.5)) == 1
