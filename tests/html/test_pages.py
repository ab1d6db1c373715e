"""GET / and /docs: what a browser is shown, and what it is kept from."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from marshmallow import Schema
from starlette.requests import Request
from starlette.testclient import TestClient

from app import create_app, routes
from authapi.engines.database import Database
from authapi.errors import TemporarilyUnavailable
from authapi.extending import Answer, Description, Endpoint, describes
from authapi.html.operations import read
from authapi.html.pages import Docs
from authapi.openapi.document import build
from authapi.openapi.paths import OURS
from authapi.telemetry.version import VERSION
from settings import Settings
from tests.checks import assert_refused
from tests.conftest import Clock, Registered
from tests.inline import Client

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PATHS = ["/", "/docs"]


class Elements(HTMLParser):
    """Every start tag, with what it links to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", PATHS)
def test_nothing_runs_and_nothing_loads(api: TestClient, path: str) -> None:
    response = api.get(path, headers=BROWSER)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    policy = response.headers["content-security-policy"]
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'sha256-[\w+/=]{44}'; base-uri 'none'; "
        r"form-action 'none'; frame-ancestors 'none'",
        policy,
    )
    elements = Elements(response.text).found
    assert {"html", "title", "main"} <= {tag for tag, _ in elements}
    assert not {"script", "img", "iframe", "form", "base", "object"} & {tag for tag, _ in elements}
    for tag, attributes in elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for name in ("href", "src"):
            assert re.match(r"[/#]|data:,$|$", attributes.get(name) or ""), attributes
    assert ("html", {"lang": "en"}) in elements


def test_the_landing_page_says_what_this_is_and_how_it_is(api: TestClient) -> None:
    page = api.get("/", headers=BROWSER).text
    assert f"auth-api {VERSION}" in page
    assert "its database answers" in page
    for link in ("/docs", "/openapi.json", "/healthz", "/readyz"):
        assert f'href="{link}"' in page
    assert "oauth-authorization-server" not in page


class Away(Database):
    """It is there at the start, and then it is not."""

    async def ask(self, *arguments: object) -> object:  # type: ignore[override]  # it gives nothing
        raise TemporarilyUnavailable


@pytest.fixture
def away(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    served = replace(settings, token_issuer="https://auth.example")

    def create(settings: Settings) -> Database:
        return Away(settings.database_url)

    with Client(create_app(served, clock, create)) as api:
        yield api


def test_it_says_so_when_the_database_is_away(away: TestClient) -> None:
    response = away.get("/", headers=BROWSER)
    assert response.status_code == 200
    assert "its database does not answer" in response.text
    assert 'href="/.well-known/oauth-authorization-server"' in response.text


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/plain"])
def test_who_is_no_browser_finds_nothing_at_the_root(api: TestClient, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    assert_refused(api.get("/", headers=headers), 404, "not_found")


def test_what_is_code_in_the_description_is_code_on_the_page(api: TestClient) -> None:
    page = api.get("/docs").text
    assert "Build on <code>error</code>, never on <code>error_description</code>." in page
    assert "`" not in page
    assert "&lt;code" not in page


def test_every_endpoint_is_shown_with_a_line_to_type(api: TestClient) -> None:
    page = api.get("/docs").text
    for path in OURS:
        assert f"<code>{path}</code>" in page
    assert page.count("curl -w") == len(OURS)
    assert {route.path for route in routes} - set(OURS) == {"/", "/docs"}


@pytest.mark.parametrize(
    ("issuer", "at"),
    [("auth-api", "http://testserver:80/"), ("https://auth.example/", "https://auth.example/")],
)
def test_the_lines_have_the_address_of_the_service_and_none_that_a_caller_made_up(
    settings: Settings, clock: Clock, issuer: str, at: str
) -> None:
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil"}
    with Client(create_app(replace(settings, token_issuer=issuer), clock)) as api:
        page = api.get("/docs", headers=evil).text
    assert "evil" not in page
    assert f"{at}login" in page


class Kept(Schema):
    """It is kept."""


@describes(Description(Kept))
async def keep(request: Request) -> Answer:
    """Keep what is there."""
    return Answer({})


def test_a_line_for_another_method_names_it() -> None:
    document = build([Endpoint("/kept", keep, "PUT", "POST")], "1")
    ((operation,),) = read(document, "http://127.0.0.1:8000").values()
    assert (operation.method, operation.path) == ("POST", "/kept")
    document = build([Endpoint("/kept", keep, "PUT")], "1")
    ((operation,),) = read(document, "http://127.0.0.1:8000").values()
    assert operation.curl == "curl -w '\\n' -X PUT http://127.0.0.1:8000/kept"


@pytest.mark.parametrize("path", [*PATHS, "/openapi.json"])
def test_they_know_no_client_and_no_secret(
    api: TestClient, registered: Registered, settings: Settings, path: str
) -> None:
    text = api.get(path, headers=BROWSER).text
    for secret in (settings.secret_key, registered.key, registered.id, "reporting"):
        assert secret not in text


def test_the_docs_are_rendered_once_for_each_address() -> None:
    document = build(routes, VERSION)
    docs = Docs(lambda: document)
    here, elsewhere = "https://auth.example", "http://127.0.0.1:8000"
    before = docs.page(here).body
    document["info"]["title"] = "Another title"
    assert docs.page(here).body == before
    assert b"Another title" in bytes(docs.page(elsewhere).body)
