"""The tricks for speed that are in the code, and the code without one of them.

Each is a file of `tricks/`: lines that say what it is, a line `Touches: ` with the scenarios where
it may show, and a diff that takes it out, in favour of what the library does by itself. To write
one: change the code, `git diff > benchmarks/tricks/its-name.diff`, write those lines above it.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.serving import ROOT, copy_code

FOLDER = Path(__file__).parent / "tricks"
_TOUCHES = "Touches: "


class Outdated(Exception):
    """The code has changed where a diff would change it."""


@dataclass(frozen=True)
class Trick:
    """`says` is what it does; `touches` are words, each of them part of a scenario's name."""

    name: str
    says: str
    touches: list[str]
    path: Path

    def touches_scenario(self, name: str) -> bool:
        return any(word in name for word in self.touches)

    def lines(self) -> int:
        """How many lines of code it takes, more than the library's way."""
        text = self.path.read_text().splitlines()
        ours = sum(line.startswith("-") and not line.startswith("---") for line in text)
        theirs = sum(line.startswith("+") and not line.startswith("+++") for line in text)
        return ours - theirs

    def take_out(self, folder: Path) -> None:
        """Bring the code without it into `folder`. Raises `Outdated`."""
        copy_code(folder)
        apply = ["git", "apply", "-C1", "--recount", str(self.path)]
        done = subprocess.run(apply, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise Outdated(f"{self.path.relative_to(ROOT)} no longer fits: {done.stderr.strip()}")


def read(path: Path) -> Trick:
    about = path.read_text().partition("\ndiff --git")[0].strip()
    says, _, touches = about.partition(_TOUCHES)
    return Trick(path.stem, " ".join(says.split()), touches.split("; "), path)


def all_tricks() -> list[Trick]:
    return [read(path) for path in sorted(FOLDER.glob("*.diff"))]
