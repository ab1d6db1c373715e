"""What a verifier holds already, as one word that it sends with its next question.

`30594f35ac6c78d0-q3J8xw0aB1.812-Zk0a1Bc2D3.77`: of this database, all that one worker had learnt up
to its position 812, and another up to 77, the newest first. A worker finds its own part, or else
sends all that it holds. So each answers the cursor of any other, and nothing is asked of the
numbers of the database, which go back after a crash.
"""

import re
from typing import NamedTuple

from authapi.revocation.entries import RUN_LENGTH

MAX_RUNS = 8
_PART = rf"[0-9A-Za-z]{{{RUN_LENGTH}}}\.(?:0|[1-9][0-9]{{0,14}})"
_FORM = re.compile(rf"([0-9a-f]{{16}})((?:-{_PART}){{1,{MAX_RUNS}}})")


class Cursor(NamedTuple):
    """`positions` are by the names of the runs, the newest first, and at least one."""

    database_id: str
    positions: dict[str, int]

    def __str__(self) -> str:
        parts = [f"{run}.{position}" for run, position in self.positions.items()]
        return "-".join([self.database_id, *parts])

    def moved(self, run: str, position: int) -> "Cursor":
        """With this position first, and as many of the others as there is room for."""
        others = [item for item in self.positions.items() if item[0] != run]
        return Cursor(self.database_id, dict([(run, position), *others][:MAX_RUNS]))


def read(text: str) -> Cursor:
    """Raises `ValueError` for what is no cursor of ours."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("no cursor")
    positions: dict[str, int] = {}
    for part in match[2][1:].split("-"):
        run, _, position = part.partition(".")
        if run in positions:
            raise ValueError("a run that is named twice")
        positions[run] = int(position)
    return Cursor(match[1], positions)
