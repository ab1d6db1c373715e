"""Each trick for speed can still be taken out of the code, and says where that may show."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.serving import ROOT, copy_code

TRICKS = sorted((ROOT / "benchmarks" / "tricks").glob("*.diff"))


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    copy_code(folder)
    return folder


@pytest.mark.parametrize("trick", TRICKS, ids=lambda path: path.stem)
def test_a_trick_can_be_taken_out(trick: Path, code: Path) -> None:
    """`make ledger` measures what it buys by that. Who changes these lines writes the diff anew."""
    apply = ["git", "apply", "--check", "-C1", "--recount", str(trick)]
    done = subprocess.run(apply, cwd=code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    about = trick.read_text().partition("\ndiff --git")[0].strip().splitlines()
    assert re.fullmatch(r"Touches: .+", about[-1])
    assert len(about) > 1
