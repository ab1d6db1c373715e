"""What the tests of the pages share."""

from pathlib import Path

import pytest

from tests.forking import make_clone
from tests.serving import ROOT, copy_code


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a fresh clone after `make run` has installed."""
    make_clone(tmp_path)
    return tmp_path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The same, where the code may be changed, and is run by Python itself."""
    copy_code(tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


@pytest.fixture
def live(clone: Path) -> Path:
    """As it is deployed, with the secret and a former one in a file."""
    (clone / ".env").write_text(f"SECRET_KEY={'o' * 32}\nSECRET_KEY_FALLBACKS={'p' * 32}\n")
    return clone
