"""compose.yaml says what it is meant to. No engine runs it here, and no schema of it is at hand:
tests/deploy/test_container.py runs two such nodes on a PostgreSQL by itself."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from authapi.server.main import STOP_SECONDS
from settings import load_settings
from tests.serving import ROOT

FILE = ROOT / "deploy" / "container" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "node1", "node2")
NGINX = (ROOT / "deploy" / "nginx" / "auth-api.conf").read_text()


def test_there_are_two_nodes_on_one_database_behind_a_proxy() -> None:
    assert SERVICES.keys() == {"db", "proxy", *OURS}
    assert SERVICES["node1"] == SERVICES["node2"]
    assert {name: list(each["depends_on"]) for name, each in SERVICES.items() if name != "db"} == {
        "migrate": ["db"],
        "node1": ["migrate"],
        "node2": ["migrate"],
        "proxy": ["node1", "node2"],
    }
    conditions = {
        name: {condition["condition"] for condition in each.get("depends_on", {}).values()}
        for name, each in SERVICES.items()
    }
    assert conditions["node1"] == {"service_completed_successfully"}
    assert conditions["migrate"] == conditions["proxy"] == {"service_healthy"}
    assert "healthcheck" in SERVICES["db"]  # that of a node is the image's
    assert [name for name, each in SERVICES.items() if "ports" in each] == ["proxy"]


def test_ours_may_do_nothing_that_they_need_not() -> None:
    for name in OURS:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert int(service["stop_grace_period"].rstrip("s")) > STOP_SECONDS
        build = service["build"]
        assert (FILE.parent / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()


def test_the_settings_are_good_and_the_proxy_is_believed() -> None:
    environ = {
        name: re.sub(r"\$\{\w+:\?.*\}", "s" * 32, value)
        for name, value in SERVICES["node1"]["environment"].items()
    }
    settings = load_settings(environ)
    address = SERVICES["proxy"]["networks"]["inside"]["ipv4_address"]
    assert str(settings.trusted_proxies) == address
    needed = set(re.findall(r"\$\{(\w+):\?", FILE.read_text()))
    assert needed == {"SECRET_KEY", "POSTGRES_PASSWORD"}


def test_the_proxy_goes_to_both_nodes(tmp_path: Path) -> None:
    *_, script = SERVICES["proxy"]["command"]
    made, _, rest = script.partition(" && ")
    (tmp_path / "auth-api.conf").write_text(NGINX)
    for place in ("/etc/auth-api.conf", "/etc/nginx/conf.d/default.conf"):
        assert made.count(place) == 1
        made = made.replace(place, str(tmp_path / Path(place).name))
    subprocess.run(["sh", "-c", made], check=True, timeout=20)
    text = (tmp_path / "default.conf").read_text()
    assert "    server node1:8000; server node2:8000;  # a line for each node\n" in text
    assert rest == "exec nginx -g 'daemon off;'"
    mounted = [each.split(":")[1] for each in SERVICES["proxy"]["volumes"]]
    assert set(re.findall(r"(/etc/ssl/\S+);", NGINX)) < set(mounted)
