"""There is one version, and the changelog knows it."""

import re

from starlette.testclient import TestClient

from authapi.telemetry.version import VERSION
from tests.serving import ROOT


def test_the_newest_release_of_the_changelog_is_this_version() -> None:
    releases = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(each for each in releases if each != "Unreleased") == VERSION
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_it_stands_in_one_place() -> None:
    holders = [
        path.relative_to(ROOT).as_posix()
        for path in [*ROOT.glob("*.py"), *(ROOT / "authapi").rglob("*.py")]
        if re.search(rf"[\"']{re.escape(VERSION)}[\"']", path.read_text())
    ]
    assert holders == ["authapi/telemetry/version.py"]


def test_the_description_has_it(api: TestClient) -> None:
    assert api.get("/openapi.json").json()["info"]["version"] == VERSION
