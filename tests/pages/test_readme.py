"""The first five minutes are as README.md shows them."""

import re
from pathlib import Path

from tests.pages.answers import assert_as_shown
from tests.pages.reading import README, blocks, section, table
from tests.pages.running import run
from tests.serving import ROOT, serve


def test_the_calls_are_answered_as_shown(clone: Path) -> None:
    script = "".join(blocks("Try it", "sh"))
    (console,) = blocks("Quick start", "text")
    with serve(clone, code=clone) as served:
        told = re.sub(r"ck_\w+", "ck_...", served.console)
        assert console in told
        script = script.replace("http://127.0.0.1:8000", served.url)
        answers = run(clone, script.replace("ck_...", served.demo_key, 1)).splitlines()
    read = assert_as_shown(script, answers)
    assert len(read) == 7
    takes_answers = table("Endpoints")
    calls = ("POST /login", "GET /secure-data", "GET /me", "POST /refresh-token", "POST /logout")
    assert takes_answers["POST /refresh-token"][1] == "as login"
    takes_answers["POST /refresh-token"] = takes_answers["POST /login"]
    for path, answer in zip(calls, read, strict=False):
        assert re.findall(r"`(\w+)`", takes_answers[path][1].partition(";")[0]) == list(answer)


def test_the_plain_commands_are_those_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (plain,) = blocks("Without make", "sh")
    commands = [line.split("#")[0].strip() for line in plain.splitlines()]
    assert commands == [
        "python3 -m venv .venv",
        ".venv/bin/pip install --require-hashes -r requirements.txt",
        ".venv/bin/python app.py",
    ]
    for part in ("-m venv $(VENV)", "--require-hashes -r requirements.txt", "python app.py"):
        assert part in makefile
    assert blocks("Quick start", "sh") == blocks("Start the service", "sh") == ["make run\n"]
    assert "PYTHON ?= python3" in makefile


def test_it_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_nothing_is_said_of_a_licence_that_is_not_there() -> None:
    assert not list(ROOT.glob("LICEN[CS]E*"))
    said = " ".join(section("Contributing, security, licence").split())
    assert "No licence has been granted yet; it is the owner's to choose." in said
