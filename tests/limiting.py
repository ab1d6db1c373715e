"""The service with smaller limits for its connections: a real process, and all else as it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from authapi.server.limits import Limits
from authapi.server.main import STOP_SECONDS
from tests.serving import ROOT, Served, serve

LAUNCHER = """import sys
sys.path[0] = {root!r}
from authapi.server.main import main
from authapi.server.limits import Limits
if __name__ == "__main__":
    main([], {limits!r}, {stop_seconds})
"""


@contextmanager
def limited(
    folder: Path, limits: Limits, stop_seconds: int = STOP_SECONDS, **environ: str
) -> Iterator[Served]:
    """Runs in `folder`, and is ended at the end."""
    code = folder / "code"
    code.mkdir()
    launcher = LAUNCHER.format(root=str(ROOT), limits=limits, stop_seconds=stop_seconds)
    (code / "app.py").write_text(launcher)
    with serve(folder, code, **environ) as served:
        yield served
