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


def offline(start: float, status: int = 200, **changes: Any) -> Event:
    return event(
        start, "offline check", status, **{"node": "v", "token": "t", "key": "e"} | changes
    )


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
    "a log-out that is heard elsewhere": [
        LOGIN,
        offline(0.5),
        event(1, "logout"),
        offline(2.09),  # the last moment
        offline(2.1, 401, node="w"),
        offline(2.2, node="w", session="t"),
        offline(3, 401),
    ],
    "a log-out beside its check elsewhere": [
        LOGIN,
        event(1, "logout", is_strict=True),
        offline(1.05),
        offline(1.06, 401, node="w"),
        offline(1.07),
    ],
    "a log-out that is not answered, and checked elsewhere": [
        LOGIN,
        event(1, "logout", UNANSWERED),
        window("trouble", 0.9, 1.2),
        offline(9),
        offline(9, 401, node="w"),
    ],
    "a login after everywhere, and checked elsewhere": [
        LOGIN,
        event(1, "everywhere"),
        event(2, "login", session="t"),
        offline(3, session="t"),
        offline(3, 401, token="s"),
    ],
    "a signing key retired": [
        LOGIN,
        event(1, "retire", session="", key="e"),
        offline(1.05, 401),
        offline(2, 401),
        offline(2, session="t", token="u", key="f"),
    ],
    "a signing key whose retirement failed": [
        LOGIN,
        event(1, "retire", 503, session="", key="e"),
        offline(2),
        offline(3, 401),
    ],
    "an outage, and a verifier that waits": [
        LOGIN,
        TROUBLE,
        window("outage", 5, 8),
        offline(6.4),  # by its lease
        offline(6.6, 503),
        offline(11.9, 503),
        offline(12),
    ],
}
ENDED = "ended session"
ELSEWHERE = "ended elsewhere"
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
    "accepted elsewhere past the bound": (ELSEWHERE, [LOGIN, event(1, "logout"), offline(2.11)]),
    "accepted elsewhere after a fault": (
        ELSEWHERE,
        [LOGIN, event(1, "logout"), window("trouble", 1, 9), offline(2.2)],
    ),
    "accepted elsewhere past the bound of a reuse": (
        ELSEWHERE,
        [*ROTATED, refresh(3, "r0", ""), offline(4.2)],
    ),
    "accepted elsewhere though all sessions were ended": (
        ELSEWHERE,
        [LOGIN, event(1, "everywhere"), offline(2.2)],
    ),
    "accepted elsewhere after a strict log-out": (
        ELSEWHERE,
        [LOGIN, event(1, "logout", is_strict=True), offline(1.11)],
    ),
    "accepted elsewhere after a strict log-out that came second": (
        ELSEWHERE,
        [LOGIN, event(1, "logout"), event(1.5, "logout", is_strict=True), offline(1.7)],
    ),
    "accepted elsewhere after the disabling": (
        ELSEWHERE,
        [LOGIN, event(1, "disable"), offline(1.11)],
    ),
    "accepted elsewhere after its key was revoked": (
        ELSEWHERE,
        [event(0, "login", key="k"), event(1, "revoke-key", key="k"), offline(1.11)],
    ),
    "accepted elsewhere after its signing key was retired": (
        ELSEWHERE,
        [LOGIN, event(1, "retire", session="", key="e"), offline(1.11)],
    ),
    "accepted again elsewhere": (
        "accepted again",
        [LOGIN, event(1, "logout"), offline(1.2, 401), offline(1.4)],
    ),
    "refused elsewhere without a cause": ("no cause", [LOGIN, offline(1, 401)]),
    "refused elsewhere for another's log-out": (
        "no cause",
        [LOGIN, event(1, "logout", session="t"), offline(2, 401)],
    ),
    "refused elsewhere before its log-out": (
        "no cause",
        [LOGIN, offline(1, 401), event(2, "logout")],
    ),
    "refused elsewhere for another signing key": (
        "no cause",
        [LOGIN, event(1, "retire", session="", key="f"), offline(2, 401)],
    ),
    "believed for longer than the lease": (
        "outage",
        [LOGIN, window("outage", 5, 8), offline(6.51)],
    ),
    "unavailable elsewhere without trouble": ("unavailable", [LOGIN, offline(1, 503)]),
    "unavailable elsewhere for another's trouble": (
        "unavailable",
        [LOGIN, window("trouble", 4, 9, "w"), offline(5, 503)],
    ),
    "unavailable elsewhere long after": ("unavailable", [LOGIN, TROUBLE, offline(12.1, 503)]),
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


def test_what_is_shared_has_waited_for_part_of_the_lease() -> None:
    late = [LOGIN, event(1, "logout"), offline(2.2)]
    assert len(check(late)) == 1
    assert check(late, is_shared=False) == []
    assert check(late, lease_seconds=2) == []
    assert len(check([LOGIN, event(1, "logout"), offline(2.7)], is_shared=False)) == 1
