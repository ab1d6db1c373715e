"""What is measured now and then can be started whenever it is wanted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT

SCRIPTS = [
    path
    for path in sorted((ROOT / "benchmarks").glob("*.py"))
    if "parser.parse_args()" in path.read_text()
]


def test_there_are_some() -> None:
    assert {"bench", "feed", "ledger", "scale"} <= {path.stem for path in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_finds_all_that_it_imports(script: Path) -> None:
    command = [sys.executable, "-W", "ignore", str(script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")
