"""Clients that others use work unmodified: real processes of them against the served app."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.clients.judging import fault_of
from tests.clients.running import CLIENTS, HERE, Issuer, Run, serve_issuer
from tests.npm import install
from tests.serving import request

TESTED = [client for client in CLIENTS if client.is_tested]
RUNS = [(client, credential) for client in TESTED for credential in client.credentials]
EXACT = r"\d+\.\d+\.\d+"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with serve_issuer(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


class Started:
    """All of them at once, since each waits as often as it works."""

    def __init__(self, issuer: Issuer, stack: ExitStack) -> None:
        self.runs: dict[str, Run] = {}
        for client, credential in RUNS:
            run = Run(client, credential, issuer)
            stack.callback(run.end)
            self.runs[f"{client.name} {credential}"] = run
        self.told = cache(lambda name: self.runs[name].told())


@pytest.fixture(scope="module")
def started(issuer: Issuer) -> Iterator[Started]:
    install(HERE)
    with ExitStack() as stack:
        yield Started(issuer, stack)


@pytest.mark.parametrize(
    ("name", "step"),
    [(f"{client.name} {credential}", step) for client, credential in RUNS for step in client.steps],
)
def test_each_step_gives_a_client_what_it_asks_for(
    started: Started, issuer: Issuer, name: str, step: str
) -> None:
    given = started.runs[name].given
    assert not fault_of(step, started.told(name), issuer.client_id, given)


def test_every_algorithm_is_tried() -> None:
    assert {credential for _, credential in RUNS} == {"secret", "ES256", "RS256", "Ed25519"}


def test_a_token_that_is_another_clients_is_no_success(issuer: Issuer) -> None:
    """So that the steps above can fail."""
    form = {"grant_type": "client_credentials", "scope": "jobs:read"}
    url, auth = f"{issuer.url}/oauth/token", (issuer.client_id, issuer.secret)
    told: dict[str, Any] = {
        "steps": {"token": {"gave": request("POST", url, data=form, auth=auth).json()}}
    }
    assert not fault_of("token", told, issuer.client_id, "")
    assert fault_of("token", told, "another", "").startswith("gave")
    assert fault_of("call", told, issuer.client_id, "") == "not taken"
    told["steps"]["token"] = {"failed": "OAuthError: invalid_client"}
    assert fault_of("token", told, issuer.client_id, "") == "OAuthError: invalid_client"


def test_what_comes_from_npm_is_pinned_exactly_and_from_whatever_registry_the_machine_uses() -> (
    None
):
    """A lock with download addresses works only where those can be reached."""
    pinned = json.loads((HERE / "package.json").read_text())["devDependencies"]
    locked = json.loads((HERE / "package-lock.json").read_text())["packages"]
    assert all(re.fullmatch(EXACT, version) for version in pinned.values())
    assert {name: locked[f"node_modules/{name}"]["version"] for name in pinned} == pinned
    for name in ("package.json", "package-lock.json"):
        assert not re.search(r'"resolved"|registry(\.|\s*=)', (HERE / name).read_text()), name


def test_the_readme_has_a_row_for_each_client() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [\d.]+", (HERE / "README.md").read_text(), re.MULTILINE)
    assert rows == [client.name for client in CLIENTS]


def test_each_script_is_a_clients() -> None:
    scripts = {path.name for path in Path(HERE).glob("with_*")}
    assert scripts == {client.script for client in CLIENTS}
