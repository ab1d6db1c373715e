"""The tables of the pages are those of the code."""

import re

import click
import pytest
import yaml
from dotenv import dotenv_values

from app import managing, routes
from authapi import errors, request_errors
from authapi.credentials.claims import Claims
from authapi.credentials.signing_schedule import Schedule
from authapi.managing import refusals as of_managing
from authapi.server.connections import (
    MAX_HEAD_BYTES,
    MAX_PIPELINED,
)
from authapi.server.limits import LIMITS
from authapi.server.main import STOP_SECONDS
from authapi.server.metrics import COUNTERS, GAUGES, HISTOGRAMS
from authapi.server.one_write import ENOUGH_BYTES
from authapi.telemetry.flood import LINES_A_SECOND
from authapi.throttling import refusals
from authapi.web.bodies import MAX_BODY_BYTES
from manage import cli
from settings import SettingsSchema, load_settings, schedule_of
from tests.pages.reading import section, table, tables
from tests.serving import ROOT, code_files

MEASURED = ("Speed", "How fast it is", "What the tricks buy", "As it grows", "Log-outs elsewhere")


def first_names(title: str) -> list[str]:
    """What is named in the first cells of a table, of which each may name several."""
    rows = re.findall(r"^\| (`.+?) \|", section(title), re.MULTILINE)
    return re.findall(r"`(\w+)`", " ".join(rows))


def test_every_endpoint_is_listed() -> None:
    calls = {
        f"{method} {route.path}"
        for route in routes
        for method in (route.methods or set()) - {"HEAD"}
        if route.path != "/verify" or method == "GET"  # a row stands for all methods
    }
    assert set(table("Endpoints")) == calls


def test_every_call_that_manages_is_listed() -> None:
    calls = {f"{method} {route.path}" for route in managing for method in route.handlers}
    assert set(table("The calls")) == calls


def test_every_error_is_listed() -> None:
    def kinds(kind: type[errors.Refusal]) -> list[type[errors.Refusal]]:
        children = kind.__subclasses__()
        return [kind, *(each for child in children for each in kinds(child))]

    listed = re.findall(r"^\| (\d+) \| `(\w+)` \|", section("Errors"), re.MULTILINE)
    assert listed == sorted(listed, key=lambda row: row[0])
    modules = {each.__name__ for each in (errors, request_errors, of_managing, refusals)}
    ours = [
        kind
        for kind in kinds(errors.Refusal)
        if kind.__module__ in modules and hasattr(kind, "error")
    ]
    assert set(listed) == {(str(kind.status), kind.error) for kind in ours}
    advice = section("What to do after an error")
    advised = re.findall(r"(\d{3}) `(\w+)` \|", advice)
    assert len(advised) == 4
    assert set(advised) < set(listed)


def test_every_setting_is_listed_with_its_default() -> None:
    def shown(default: object) -> str:
        return f"`{default}`" if default not in ("", ()) else ""

    expected = {
        name.upper(): shown(field.load_default) for name, field in SettingsSchema().fields.items()
    }
    assert {name: cells[0] for name, cells in table("Settings").items()} == expected
    example = dotenv_values(ROOT / ".env.example")
    assert {name: f"`{value}`" if value else "" for name, value in example.items()} == expected


def test_every_event_is_listed() -> None:
    code = "".join(path.read_text() for path in code_files())
    recorded = re.findall(r'(?:record\(|audit\.record, |event = )"(\w+)"', code)
    assert set(first_names("The audit trail")) == set(recorded)
    watched = set(first_names("What to watch"))
    logged = re.findall(
        r'(?:logger\.(?:error|warning)\(|Outage\(logger,|audit\.Event\()\s*"(\w+)', code
    )
    assert set(logged) < watched < {*recorded, *logged}


def test_every_metric_is_listed_with_its_labels() -> None:
    metrics, _ = tables("Metrics")
    labels = {f"{name}_total": of for name, _, of in COUNTERS.values()}
    labels |= {name: of for name, _, of, _ in HISTOGRAMS.values()}
    labels |= {name: [] for name, _ in GAUGES.values()}
    labels |= {"auth_workers": [], "auth_build_info": ["version"]}
    assert {name: re.findall(r"`(\w+)`", row[0]) for name, row in metrics.items()} == labels


def test_every_alert_is_listed() -> None:
    _, listed = tables("Metrics")
    text = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    alerts = [alert for group in yaml.safe_load(text)["groups"] for alert in group["rules"]]
    assert {name: row[0] for name, row in listed.items()} == {
        alert["alert"]: alert["labels"]["severity"] for alert in alerts
    }
    assert (
        f"has {['', 'one', 'two', 'three', 'four', 'five', 'six', 'seven'][len(alerts)]} alerts"
        in (section("Metrics"))
    )


def test_every_claim_is_listed() -> None:
    assert set(first_names("Claims")) == {"iss", "aud", "client_id", *Claims._fields[:-1]}


def test_every_command_is_listed() -> None:
    listed = {row.split()[0] for row in table("Commands")}
    assert listed == set(cli.list_commands(click.Context(cli)))


def test_every_way_to_write_a_database_url_is_taken() -> None:
    written = re.findall(r"`(sqlite:|postgresql:)(\S+)`", section("DATABASE_URL"))
    assert len(written) == 5
    options = re.findall(r"`(\?\S+)`", section("DATABASE_URL"))
    assert len(options) == 2
    urls = [scheme + rest for scheme, rest in written]
    urls += [f"postgresql://user@host/database{option}" for option in options]
    for url in urls:
        assert load_settings({"SECRET_KEY": "s" * 32, "DATABASE_URL": url}).database_url == url


def test_the_limits_are_those_of_the_code() -> None:
    limits = {name: cells[0] for name, cells in table("Sizes and times").items()}
    kib, seconds = 1024, round(LIMITS.wait_seconds)
    assert limits["a body"] == f"{MAX_BODY_BYTES // kib} KiB"
    assert limits["the request line and the headers"] == f"{MAX_HEAD_BYTES // kib} KiB"
    assert limits["a request to arrive"].startswith(f"{seconds} seconds for the head, {seconds}")
    assert limits["an idle connection"].startswith(f"{seconds} seconds;")
    enough = f"for each {ENOUGH_BYTES // kib} KiB"
    assert limits["an answer to be read"] == f"{seconds} seconds {enough}"
    assert limits["open connections"].startswith(f"{LIMITS.connections:,} for each worker;")
    assert limits["requests sent ahead on one connection"] == str(MAX_PIPELINED)
    assert f"for {STOP_SECONDS} seconds at most" in section("Starts, stops and exit codes")
    assert f"at most {LINES_A_SECOND} refusals a second" in section("A flood of refusals")


def test_each_limit_is_where_the_table_says() -> None:
    files = ("nginx/auth-api.conf", "systemd/auth-api.service", "kubernetes/auth-api.yaml")
    texts = [(ROOT / "deploy" / file).read_text() for file in files]
    rows = table("Limits and time-outs")
    shown = 0
    for _, *outer in rows.values():
        for cell, text in zip(outer, texts, strict=True):
            for setting in re.findall("`(.+?)`", cell):
                assert re.search(rf"{re.escape(setting)}(?!\w)", text), setting
                shown += 1
    assert shown > 15
    seconds = f"{round(LIMITS.wait_seconds)} s"
    ours = {name: cells[0] for name, cells in rows.items()}
    assert ours["a body"] == f"{MAX_BODY_BYTES // 1024} KiB"
    assert ours["the head"] == f"{MAX_HEAD_BYTES // 1024} KiB"
    assert ours["a request to arrive"] == f"{seconds} for the head, {seconds} for the body"
    assert ours["an idle connection to the service"] == seconds
    assert ours["an answer to be read"] == f"{seconds} for each {ENOUGH_BYTES // 1024} KiB"
    assert ours["a stop"] == f"{STOP_SECONDS} s"
    assert ours["connections"].startswith(f"{LIMITS.connections:,} for each worker, and as many as")
    said = table("Sizes and times")["an answer"][0].split()
    assert [ours["an answer"], ours["a probe"]] == [f"{said[0]} s", f"{said[-3]} s"]


def test_the_times_of_a_rotation_are_those_of_the_code() -> None:
    schedule: Schedule = schedule_of(load_settings({"SECRET_KEY": "s" * 32}))
    spare = schedule.publish_seconds - 2 * schedule.max_age_seconds
    assert spare == schedule.keep_seconds - schedule.refresh_seconds
    assert section("Rotate a signing key").count(f"{spare} seconds") == 3
    assert schedule.publish_seconds // 3600 == 2
    assert "signs after two hours" in section("Rotate a signing key")


def test_the_example_of_a_pool_is_right() -> None:
    text = section("DATABASE_URL")
    example = re.search(r"(\d+) nodes with (\d+) workers need\s.+ = (\d+)", text)
    assert example is not None
    nodes, workers, needed = map(int, example.groups())
    assert needed == nodes * workers * (load_settings({}).database_pool_size + 1)


@pytest.mark.parametrize("title", MEASURED)
def test_every_table_of_figures_is_one_that_was_measured(title: str) -> None:
    """By `make bench`, `make ledger`, `make scale` and `make feed`, which keep them in Markdown."""
    results = (ROOT / "benchmarks" / "results").glob("*.md")
    measured = "\n".join(path.read_text() for path in results)
    shown = re.findall(r"(?:^\|.+\|\n)+", section(title), re.MULTILINE)
    assert shown
    for each in shown:
        assert f"\n{each}" in measured, each
