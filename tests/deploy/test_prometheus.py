"""The alerts and the dashboard ask for what the service tells, and for nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from authapi.server.metrics import COUNTERS, HISTOGRAMS, Workers
from tests.serving import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
ALERTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0][
    "rules"
]
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
EXPRESSIONS = {alert["alert"]: alert["expr"] for alert in ALERTS} | {
    panel["title"]: target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
}
LABELS = {
    label for _, _, labels, *_ in (*COUNTERS.values(), *HISTOGRAMS.values()) for label in labels
}


@pytest.fixture
def told(tmp_path: Path) -> set[str]:
    """The names of all samples."""
    registry = CollectorRegistry()
    registry.register(Workers(tmp_path))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    ends = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
    return {family.name + end for family in families for end in ends.get(family.type, [""])}


@pytest.mark.parametrize("of", EXPRESSIONS)
def test_it_asks_for_what_there_is(told: set[str], of: str) -> None:
    asked = set(re.findall(r"\bauth_[a-z_]+", EXPRESSIONS[of]))
    assert asked
    assert asked <= told


@pytest.mark.parametrize("of", EXPRESSIONS)
def test_it_tells_apart_what_is_told_apart(of: str) -> None:
    by = re.findall(r"by \(([^)]*)\)", EXPRESSIONS[of])
    matched = re.findall(r"(\w+)(?:=~|!=|=)\"", EXPRESSIONS[of])
    named = {label.strip() for labels in by for label in labels.split(",")} | set(matched)
    assert named <= LABELS | {"le"}


def test_events_are_those_of_the_audit_trail() -> None:
    written = {
        name
        for path in (ROOT / "authapi").rglob("*.py")
        for name in re.findall(
            r'_record\("(\w+)"|event = "(\w+)"|\.record\("(\w+)"', path.read_text()
        )
        for name in name
    }
    asked = set()
    for expression in EXPRESSIONS.values():
        for names in re.findall(r'event=~?"([^"]+)"', expression):
            asked |= set(names.split("|"))
    assert asked
    assert asked <= written


def test_each_alert_says_what_it_is_and_what_to_do() -> None:
    assert len(ALERTS) == 7
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert alert["annotations"]["summary"].endswith(".")
        assert len(alert["annotations"]["description"]) > 60


def test_all_that_is_told_is_on_the_dashboard(told: set[str]) -> None:
    shown = {
        name
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\bauth_[a-z_]+", target["expr"])
    }
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in told} == {
        re.sub("_(bucket|count|sum)$", "", name) for name in shown
    }


def test_panels_do_not_lie_on_each_other() -> None:
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        squares = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not places & squares, panel["title"]
        assert at["x"] + at["w"] <= 24
        places |= squares
