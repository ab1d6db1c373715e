"""A real Prometheus asks the service: its rules load, its linter finds nothing, and panels fill."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.pages.reading import blocks
from tests.pages.running import SECRET, call, log_in
from tests.serving import ROOT, Served, create_client, end, free_port, serve

FOLDER = ROOT / "deploy" / "prometheus"
PANELS = {
    panel["title"]: [target["expr"] for target in panel["targets"]]
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]
}
FILL_SECONDS = 60

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus is not installed"
)


def check(*arguments: str, told: str | None = None) -> str:
    """What `promtool check` says, if it finds no fault."""
    command = ["promtool", "check", *arguments]
    result = subprocess.run(
        command, input=told, capture_output=True, text=True, timeout=20, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@dataclass
class Prometheus:
    """It asks the service, and is asked."""

    url: str

    def ask(self, path: str, **query: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=query, timeout=10, verify=False)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def values(self, expression: str) -> list[float]:
        """Those of the series that there are now."""
        found = self.ask("query", query=expression)["result"]
        return [float(series["value"][1]) for series in found]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=10, verify=False).status_code == 200
        except httpx.TransportError:
            return False

    def wait_for(self, *expressions: str, also: Sequence[str] = ()) -> None:
        """Until each is more than 0, and `also` those are told at all; and before that until it is
        there itself."""
        give_up = time.monotonic() + FILL_SECONDS
        while not (
            self.is_ready()
            and all(any(self.values(each)) for each in expressions)
            and all(map(self.values, also))
        ):
            assert time.monotonic() < give_up, (expressions, also)
            time.sleep(0.5)


@contextmanager
def watching(folder: Path, metrics_port: int) -> Iterator[Prometheus]:
    """A Prometheus with what docs/monitoring.md shows, but for the places, and more eager."""
    (shown,) = blocks("Metrics", "yaml")
    config = yaml.safe_load(shown)
    assert config["rule_files"] == ["/srv/auth-api/deploy/prometheus/alerts.yml"]
    config["rule_files"] = [str(FOLDER / "alerts.yml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{metrics_port}"]}]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    file, port = folder / "prometheus.yml", free_port()
    file.write_text(yaml.safe_dump(config))
    check("config", str(file))
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.txt").open("wb") as console:
        process = subprocess.Popen(command, stdout=console, stderr=subprocess.STDOUT)
        try:
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            end(process, seconds=20)


def use_everything(served: Served, key: str) -> None:
    """Of all that a panel shows, one."""
    first = log_in(served, key)
    second = call(served, "/refresh-token", refresh_token=first["refresh_token"]).json()
    call(served, "/refresh-token", refresh_token=second["refresh_token"])
    reused = call(served, "/refresh-token", refresh_token=first["refresh_token"])
    assert reused.json()["error"] == "invalid_grant"
    assert call(served, "/me", first["access_token"]).json()["error"] == "invalid_token"
    call(served, "/logout", log_in(served, key)["access_token"])


def test_the_dashboard_fills_and_one_reused_token_is_an_alarm(tmp_path: Path) -> None:
    metrics_port = free_port()
    environ = SECRET | {"METRICS_PORT": str(metrics_port)}
    key = create_client(tmp_path, **environ)
    with serve(tmp_path, **environ) as served, watching(tmp_path, metrics_port) as prometheus:
        prometheus.wait_for("auth_workers")
        use_everything(served, key)
        reused = 'ALERTS{alertname="AuthApiRefreshReused",alertstate="firing"}'
        prometheus.wait_for("auth_workers", 'auth_events_total{event="logged_out"}', reused)
        # A healthy service has nothing to show at 503.
        shown = [each for title in PANELS if title != "503" for each in PANELS[title]]
        prometheus.wait_for(also=shown)
        told = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics").text
        assert check("metrics", told=told) == ""


def test_its_rules_load() -> None:
    assert "SUCCESS: 7 rules found" in check("rules", str(FOLDER / "alerts.yml"))
