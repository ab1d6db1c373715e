"""Behind each proxy that the page shows, an API learns who calls from the service alone."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from handlers import ANY_METHOD
from tests.checks import bearer
from tests.pages.reading import blocks, section, tables
from tests.pages.running import SECRET
from tests.proxies import CADDY, NGINX, caddy, echoing, nginx
from tests.serving import Served, migrate, run, serve

HEADERS = ("x-client-id", "x-client-name", "x-scope")
NAME = "Lager Süd 100%"
CHALLENGE = 'Bearer realm="auth-api"'
ASKED = "/verify?scope=reports:read"
PATH = "/things?scope=none"
Json = dict[str, Any]


@dataclass
class Front:
    """The proxy before an API, and the service that it asks. `reader` has the scope."""

    url: str
    served: Served
    reader: Json
    stranger: Json

    def log_in(self, client: Json, scope: str = "") -> str:
        body = {"client_key": client["client_key"], "scope": scope}
        answer = httpx.post(f"{self.served.url}/login", data=body, verify=False)
        return str(answer.json()["access_token"])

    def call(
        self, token: str = "", method: str = "GET", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        shown = (bearer(token) if token else {}) | (headers or {})
        content = "a body" if method == "POST" else None
        return httpx.request(method, self.url + PATH, headers=shown, content=content, verify=False)


def as_shown(title: str, language: str, served: Served, api: str, asked: str) -> str:
    (text,) = blocks(title, language)
    for shown, real in (("127.0.0.1:8000", served.url), ("127.0.0.1:9000", api)):
        assert text.count(shown) == 1
        text = text.replace(shown, real.removeprefix("http://"))
    assert text.count(ASKED) == 1
    return text.replace(ASKED, asked)


def run_nginx(
    folder: Path, served: Served, api: str, asked: str = ASKED
) -> AbstractContextManager[str]:
    return nginx(folder, as_shown("With nginx", "nginx", served, api, asked))


def run_caddy(
    folder: Path, served: Served, api: str, asked: str = ASKED
) -> AbstractContextManager[str]:
    text = as_shown("With Caddy", "caddyfile", served, api, asked)
    assert text.startswith("reports.example {")
    return caddy(folder, lambda address: text.replace("reports.example", address, 1))


PROXIES = [
    pytest.param(
        run_nginx, marks=pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
    ),
    pytest.param(
        run_caddy, marks=pytest.mark.skipif(CADDY is None, reason="caddy is not installed")
    ),
]
NAMES = ["nginx", "caddy"]
Start = Callable[[Path, Served, str], AbstractContextManager[str]]


@pytest.fixture(scope="module", params=PROXIES, ids=NAMES)
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    start: Start = request.param
    folder = tmp_path_factory.mktemp("proxied")
    migrate(folder, **SECRET)
    reader = create(folder, NAME, "--scope", "reports:read other")
    stranger = create(folder, "stranger")
    with (
        serve(folder, **SECRET) as served,
        echoing() as api,
        start(folder, served, api) as url,
    ):
        yield Front(url, served, reader, stranger)


def create(folder: Path, *arguments: str) -> Json:
    made = run(folder, "manage.py", "create-client", *arguments, "--json", **SECRET)
    client: Json = json.loads(made.stdout)
    return client


def test_the_api_is_told_who_calls_and_gets_the_call_as_it_was(front: Front) -> None:
    token = front.log_in(front.reader)
    answer = front.call(token, "POST")
    assert answer.status_code == 200
    came = answer.json()
    assert (came["method"], came["path"], came["body"]) == ("POST", PATH, "a body")
    told = {name: came["headers"][name] for name in HEADERS}
    assert told == {
        "x-client-id": [front.reader["user_id"]],
        "x-client-name": ["Lager S%C3%BCd 100%25"],
        "x-scope": ["reports:read other"],
    }
    assert unquote(told["x-client-name"][0]) == NAME
    assert "authorization" not in came["headers"]


def test_what_a_caller_says_of_itself_does_not_reach_the_api(front: Front) -> None:
    forged = dict.fromkeys((*HEADERS, *(name.replace("-", "_") for name in HEADERS)), "forged")
    answer = front.call(front.log_in(front.reader), headers=forged)
    assert answer.status_code == 200
    assert "forged" not in answer.text


def test_nobody_comes_through_without_a_token_that_counts(front: Front) -> None:
    for token, challenge in (
        ("", CHALLENGE),
        ("garbage", f'{CHALLENGE}, error="invalid_token"'),
    ):
        refused = front.call(token)
        assert refused.status_code == 401
        assert refused.headers.get_list("WWW-Authenticate") == [challenge]


def test_nobody_comes_through_without_the_scope(front: Front) -> None:
    needed = f'{CHALLENGE}, error="insufficient_scope", scope="reports:read"'
    for token in (front.log_in(front.stranger), front.log_in(front.reader, "other")):
        refused = front.call(token)
        assert refused.status_code == 403
        assert refused.headers.get_list("WWW-Authenticate") == [needed]


def test_a_log_out_holds_at_once(front: Front) -> None:
    token = front.log_in(front.reader)
    assert front.call(token).status_code == 200
    ended = httpx.post(f"{front.served.url}/logout", headers=bearer(token))
    assert ended.status_code == 200
    assert front.call(token).status_code == 401


@pytest.mark.parametrize("slip", ["?scopes=reports:read", "?scope=", "?scope=a&scope=b", "?a"])
def test_a_slip_in_the_query_opens_nothing(front: Front, slip: str) -> None:
    token = front.log_in(front.reader)
    verify = f"{front.served.url}/verify"
    assert httpx.get(verify, headers=bearer(token)).status_code == 200
    assert httpx.get(verify + slip, headers=bearer(token)).status_code == 400


@dataclass
class Asking:
    """A proxy that asks otherwise than the page shows, before an API, and its callers' client."""

    url: str
    token: str


@contextmanager
def asking(start: Any, folder: Path, asked: str) -> Iterator[Asking]:
    migrate(folder, **SECRET)
    client = create(folder, "stranger")
    with (
        serve(folder, **SECRET) as served,
        echoing() as api,
        start(folder, served, api, asked) as url,
    ):
        yield Asking(url, Front(url, served, client, client).log_in(client))


@pytest.mark.parametrize("start", PROXIES, ids=NAMES)
def test_nor_does_it_where_the_answer_has_nothing_to_put_in_its_place(
    start: Any, tmp_path: Path
) -> None:
    with asking(start, tmp_path, "/verify") as proxy:
        headers = bearer(proxy.token) | {"X-Scope": "forged"}
        answer = httpx.get(proxy.url, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["headers"].get("x-scope", [""]) == [""]


@pytest.mark.parametrize(
    ("start", "status"),
    [
        pytest.param(*proxy.values, status, marks=proxy.marks)
        for proxy, status in zip(PROXIES, (500, 400), strict=True)
    ],
    ids=NAMES,
)
def test_any_other_answer_of_the_service_lets_nobody_through(
    start: Any, status: int, tmp_path: Path
) -> None:
    with asking(start, tmp_path, "/verify?scopes=reports:read") as proxy:
        assert httpx.get(proxy.url, headers=bearer(proxy.token)).status_code == status


def test_the_headers_and_refusals_of_the_page_are_those_of_the_service(front: Front) -> None:
    refusals, headers = tables("What the proxy asks")
    answer = httpx.get(f"{front.served.url}/verify", headers=bearer(front.log_in(front.reader)))
    told = {name for name in answer.headers if name.startswith("x-") and name in HEADERS}
    assert {name.lower() for name in headers} == told
    assert [row[:3] for row in refusals] == ["200", "400", "401", "403", "503"]
    (listed,) = re.findall(r"`/verify` takes (.+?), and", section("What the proxy asks"))
    assert {*ANY_METHOD, "HEAD"} == set(re.findall("[A-Z]+", listed))
