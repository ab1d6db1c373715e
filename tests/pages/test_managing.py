"""Clients are managed by `curl` alone, as the page shows, from the first key to the last."""

import json
import re
from pathlib import Path

from authapi.managing.paging import MAX_PAGE
from authapi.managing.repeats import WINDOW_SECONDS
from authapi.web.managing_schemas import ROTATION
from tests.pages.answers import MOMENT, assert_like
from tests.pages.reading import blocks, section
from tests.pages.running import SECRET, run
from tests.serving import ROOT, serve

PAGE = ROOT / "docs" / "manage-over-http.md"
DEMO = "http://127.0.0.1:8000"
ON = SECRET | {"MANAGEMENT": "on"}
STEPS = ("Begin to manage", "From the first key to the last", "As a Terraform provider")


def script() -> str:
    return "".join(block for title in STEPS for block in blocks(title, "sh"))


def test_each_command_of_the_page_is_among_those_that_are_run() -> None:
    shown = re.findall(r"^.*(?:curl|api) .*$", PAGE.read_text(), re.MULTILINE)
    run_here = re.findall(r"^.*(?:curl|api) .*$", script(), re.MULTILINE)
    assert len(run_here) >= 20
    assert [line for line in shown if line.startswith(("api ", "curl "))] == [
        line for line in run_here if line.startswith(("api ", "curl "))
    ]


def test_the_page_is_answered_as_shown(clone: Path) -> None:
    run(clone, ".venv/bin/python manage.py migrate", **ON)
    with serve(clone, code=clone, **ON) as served:
        printed = run(clone, script().replace(DEMO, served.url), **ON).split("\n")
    printed = [line for line in printed if line]
    shown = re.findall(r"^# (.+)$", script(), re.MULTILINE)
    assert len(printed) == len(shown), printed
    for line, like in zip(printed, shown, strict=True):
        if like.startswith("{"):
            assert_like(json.loads(line), json.loads(like))
        elif like.isdecimal() and int(like) > MOMENT:
            assert int(line) > MOMENT
        else:
            assert line == like


def test_the_figures_of_the_page_are_those_of_the_code() -> None:
    assert f"limit=1..{MAX_PAGE}" in section("The calls")
    assert f"`overlap` in seconds ({ROTATION.fields['overlap'].load_default})" in section(
        "The calls"
    )
    assert WINDOW_SECONDS == 24 * 3600
    assert "within a day" in section("Lost answers, and two pipelines")
