"""A cursor is read as it was written, and nothing else is one."""

import pytest

from authapi.revocation import cursors
from authapi.revocation.cursors import Cursor
from authapi.revocation.entries import Entries

DATABASE = "30594f35ac6c78d0"
RUNS = [f"q3J8xw0aB{number}" for number in range(9)]
ONE = f"{DATABASE}-{RUNS[0]}.812"


def test_a_cursor_is_read_as_it_was_written() -> None:
    cursor = Cursor(DATABASE, {RUNS[0]: 812, Entries().run: 0})
    assert cursors.read(str(cursor)) == cursor
    assert str(Cursor(DATABASE, {RUNS[0]: 812})) == ONE


def test_the_newest_position_is_first_and_the_oldest_goes() -> None:
    cursor = Cursor(DATABASE, {})
    for position, run in enumerate([*RUNS, RUNS[5]]):
        cursor = cursor.moved(run, position)
    assert list(cursor.positions) == [RUNS[number] for number in (5, 8, 7, 6, 4, 3, 2, 1)]
    assert cursor.positions[RUNS[5]] == 9


def test_the_longest_cursor_has_room_in_a_url() -> None:
    longest = Cursor(DATABASE, dict.fromkeys(RUNS[:8], 10**15 - 1))
    assert cursors.read(str(longest)) == longest
    assert len(str(longest)) <= 250


@pytest.mark.parametrize(
    "text",
    [
        "",
        DATABASE,
        f"{DATABASE}-",
        f"{ONE}-",
        f"{ONE}\n",
        f" {ONE}",
        f"{ONE}-{RUNS[0]}.1",
        ONE.upper(),
        ONE[1:],
        ONE.replace("q3J8", "q3J"),
        ONE.replace("q3J8", "q3_8"),
        ONE.replace("q3J8", "q3é8"),
        ONE.replace(".812", ""),
        ONE.replace(".812", "."),
        ONE.replace(".812", ".-1"),
        ONE.replace(".812", ".0812"),
        ONE.replace(".812", ".٣"),
        ONE.replace(".812", ".1e3"),
        ONE.replace(".812", "." + "9" * 16),
        "-".join([DATABASE, *[f"{run}.1" for run in RUNS]]),
        ONE * 1_000,
    ],
)
def test_what_has_another_form_is_no_cursor(text: str) -> None:
    with pytest.raises(ValueError, match=r"no cursor|twice"):
        cursors.read(text)
