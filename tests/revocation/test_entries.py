"""What a copy holds is in the order in which it was learnt, and who has a part lacks the rest."""

import pytest

from authapi.revocation.entries import MARGIN_SECONDS, Entries
from authapi.store.following import Ended

NOW = 1_000.0
KEEP = 100.0
LATER = 5_000


def entries_of(*ended_ids: str) -> Entries:
    entries = Entries()
    for ended_id in ended_ids:
        entries.remember(Ended(ended_id, 1.5, LATER), NOW)
    return entries


def ids_since(entries: Entries, position: int) -> list[str]:
    return [ended_id for ended_id, _ in entries.since(position)]


def test_positions_grow_by_one_and_tell_what_is_lacked() -> None:
    entries = entries_of("a", "b", "c")
    assert [entry.position for _, entry in entries.since(0)] == [1, 2, 3]
    assert entries.last == 3
    assert ids_since(entries, 1) == ["b", "c"]
    assert ids_since(entries, 3) == []


def test_what_is_learnt_again_unchanged_is_no_news() -> None:
    entries = entries_of("a", "b")
    before = entries.since(0)
    entries.remember(Ended("a", 1.5, LATER), NOW + 50)
    entries.remember(Ended("a", 1.25, LATER - 1), NOW + 50)
    assert entries.since(0) == before
    assert entries.last == 2


@pytest.mark.parametrize(
    ("again", "holds"),
    [
        (Ended("a", 1.75, LATER), (1.75, LATER)),
        (Ended("a", 1.5, LATER + 1), (1.5, LATER + 1)),
        (Ended("a", 1.75, LATER - 1), (1.75, LATER)),
    ],
)
def test_what_changes_is_learnt_anew_with_the_later_times(
    again: Ended, holds: tuple[float, int]
) -> None:
    entries = entries_of("a", "b")
    entries.remember(again, NOW + 1)
    ((ended_id, entry),) = entries.since(2)
    assert (ended_id, tuple(entry)) == ("a", (*holds, NOW + 1, 3))
    assert ids_since(entries, 0) == ["b", "a"]


def test_what_is_over_by_both_clocks_is_forgotten_and_stays_over() -> None:
    entries = entries_of("a", "b")
    entries.remember(Ended("c", 1.5, LATER), NOW + 1)
    entries.forget(NOW + KEEP - 0.001, KEEP, LATER)
    assert (len(entries), entries.over) == (3, 0)
    entries.forget(NOW + KEEP, KEEP, LATER)
    assert ids_since(entries, 0) == ["c"]
    assert entries.over == LATER + MARGIN_SECONDS


def test_what_is_not_over_by_the_wall_clock_is_learnt_anew() -> None:
    """Where that is behind. A verifier has to keep it for longer, too."""
    entries = entries_of("a", "b")
    entries.forget(NOW + KEEP, KEEP, LATER - 1)
    assert [entry.position for _, entry in entries.since(2)] == [3, 4]
    assert [entry.learnt_at for _, entry in entries.since(0)] == [NOW + KEEP] * 2
    assert entries.over == 0


def test_each_order_has_a_name_of_its_own() -> None:
    assert len({Entries().run for _ in range(100)}) == 100
