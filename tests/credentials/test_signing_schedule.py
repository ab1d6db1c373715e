"""No token fails, and no verifier with a set of ours meets an unknown key, whatever is rotated."""

from itertools import pairwise

import pytest

from authapi.credentials.signing_keys import SigningKey, from_jwk
from authapi.credentials.signing_schedule import PICK_UP_SECONDS, Schedule
from tests.conftest import NOW
from tests.signing import ES256

T0 = int(NOW)
HOUR, WEEK = 3600, 604_800
SCHEDULE = Schedule(max_age_seconds=HOUR, refresh_seconds=WEEK, leeway_seconds=9.5)


def add(keys: list[SigningKey], kid: str, now: int = T0, at_once: bool = False) -> list[SigningKey]:
    return SCHEDULE.add(keys, from_jwk(ES256(kid).jwk), now, at_once)


def dates(keys: list[SigningKey]) -> dict[str, tuple[float, ...]]:
    """When each signs from, signs until, and retires, after T0."""
    return {key.kid: tuple(value - T0 for value in list(key.dates().values())[1:]) for key in keys}


PUBLISH = 2 * HOUR + 10 + PICK_UP_SECONDS
KEEP = WEEK + 10 + PICK_UP_SECONDS


def test_the_first_key_signs_at_once() -> None:
    keys = add([], "a")
    assert dates(keys) == {"a": (0,)}
    assert keys[0].published_at == T0
    assert keys[0].state(T0) == "signing"


def test_the_next_is_published_then_signs_and_the_old_one_verifies_what_it_signed() -> None:
    keys = add(add([], "a"), "b", T0 + 100)
    assert dates(keys) == {"a": (0, 100 + PUBLISH, 100 + PUBLISH + KEEP), "b": (100 + PUBLISH,)}
    assert keys[1].published_at == T0 + 100
    # whoever fetched the set just before a worker saw the new file has asked again by then
    assert keys[1].signs_from >= T0 + 100 + PICK_UP_SECONDS + HOUR
    # and the last token of the old key is over, the leeway too
    assert keys[0].retires_at >= keys[0].signs_until + WEEK + 9.5


def test_at_once_is_when_every_worker_has_read_it() -> None:
    keys = add(add([], "a"), "b", T0 + 100, at_once=True)
    switch = 100 + PICK_UP_SECONDS
    assert dates(keys) == {"a": (0, switch, switch + KEEP), "b": (switch,)}


def test_a_key_in_an_emergency_comes_before_one_that_waits() -> None:
    keys = add(add(add([], "a"), "b"), "c", T0 + 50, at_once=True)
    switch = 50 + PICK_UP_SECONDS
    assert dates(keys) == {
        "a": (0, switch, switch + KEEP),
        "c": (switch, PUBLISH, PUBLISH + KEEP),
        "b": (PUBLISH,),
    }


def test_what_is_over_is_dropped_by_the_next() -> None:
    keys = add(add([], "a"), "b")
    retired = PUBLISH + KEEP
    assert [key.kid for key in add(list(keys), "c", T0 + retired - 1)] == ["a", "b", "c"]
    assert [key.kid for key in add(list(keys), "c", T0 + retired)] == ["b", "c"]


def test_what_has_happened_keeps_its_dates_though_the_settings_change() -> None:
    keys = add(add([], "a"), "b")
    shorter = Schedule(HOUR, refresh_seconds=60, leeway_seconds=0)
    later = shorter.add(keys, from_jwk(ES256("c").jwk), T0 + PUBLISH, False)
    assert dates(later)["a"] == dates(keys)["a"]
    assert dates(later)["b"][2] == dates(later)["b"][1] + 60 + PICK_UP_SECONDS


def test_without_a_key_that_waits_the_one_that_signs_goes_on() -> None:
    keys = SCHEDULE.remove(add(add([], "a"), "b"), "b", T0 + 5)
    assert dates(keys) == {"a": (0,)}


def test_without_a_key_that_verified_the_others_stay_as_they_are() -> None:
    keys = add(add([], "a"), "b")
    assert dates(SCHEDULE.remove(list(keys), "a", T0 + PUBLISH)) == {"b": dates(keys)["b"]}


def test_where_none_signs_the_new_one_does_at_once() -> None:
    lost = [from_jwk(ES256("x", signs_until=T0 - 5, retires_at=T0 + 5).jwk)]
    assert dates(add(lost, "a"))["a"] == (0,)


def test_one_key_signs_at_any_time_and_there_is_none_without() -> None:
    keys = add(add(add(add([], "a"), "b"), "c", T0 + HOUR), "d", T0 + WEEK)
    turns = sorted(keys, key=lambda key: key.signs_from)
    assert len(turns) == 4
    assert all(one.signs_until == other.signs_from for one, other in pairwise(turns))


@pytest.mark.parametrize(("after", "age"), [(0, HOUR), (PUBLISH + KEEP - 60.5, 60)])
def test_a_set_is_kept_for_no_longer_than_until_a_key_retires(after: float, age: int) -> None:
    keys = add(add([], "a"), "b")
    assert SCHEDULE.max_age(keys, T0 + after) == age
