"""A worker opens no more connections than the system lets it, and says where that is too few."""

import json
import os
import subprocess
import sys

import pytest

from tests.serving import ROOT, watched

CODE = """
import json, resource, sys
sys.path.insert(0, {root!r})
import logging
logging.basicConfig(stream=sys.stderr, format="%(message)s %(details)s")
from authapi.server.limits import Limits, within_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, {limits!r})
connections = within_descriptors(Limits()).connections
print(json.dumps([connections, *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


@pytest.mark.parametrize(
    ("limits", "found", "is_told"),
    [
        ((256, 4096), [1000, 1064, 4096], False),
        ((2048, 4096), [1000, 2048, 4096], False),
        ((256, 512), [448, 512, 512], True),
        ((64, 64), [1, 64, 64], True),
    ],
)
def test_connections_fit_into_what_may_be_opened(
    limits: tuple[int, int], found: list[int], is_told: bool
) -> None:
    code = CODE.format(root=str(ROOT), limits=limits)
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | watched(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(ended.stdout) == found
    assert ("few_file_descriptors" in ended.stderr) == is_told
