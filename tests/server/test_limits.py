"""A worker opens no more connections than the system lets it, and says where that is too few."""

import json
import os
import subprocess
import sys

import pytest

from tests.serving import ROOT, watched

CODE = """
import json, os, resource, sys
sys.path.insert(0, {root!r})
import logging
logging.basicConfig(stream=sys.stderr, format="%(message)s %(details)s")
from authapi.server.limits import Limits, limits_of_workers
resource.setrlimit(resource.RLIMIT_NOFILE, {limits!r})
found = limits_of_workers(Limits(), {max_held})
assert os.environ["FEED_MAX_HELD"] == str(found.held)
print(json.dumps([found.connections, found.held, *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


@pytest.mark.parametrize(
    ("max_held", "limits", "found", "is_told"),
    [
        (2000, (256, 4096), [1000, 2000, 3064, 4096], False),
        (2000, (4000, 4096), [1000, 2000, 4000, 4096], False),
        (500, (256, 4096), [1000, 500, 1564, 4096], False),
        (2000, (256, 2064), [1000, 1000, 2064, 2064], True),
        (2000, (256, 1024), [720, 240, 1024, 1024], True),
        (2000, (256, 512), [336, 112, 512, 512], True),
        (10, (256, 512), [438, 10, 512, 512], True),
        (2000, (64, 64), [1, 1, 64, 64], True),
    ],
)
def test_connections_fit_into_what_may_be_opened(
    max_held: int, limits: tuple[int, int], found: list[int], is_told: bool
) -> None:
    code = CODE.format(root=str(ROOT), limits=limits, max_held=max_held)
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
