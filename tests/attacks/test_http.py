"""Whatever octets arrive at the socket are answered as the catalogue says."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from tests.attacks.recipes import Json, load, parameters, text
from tests.checks import assert_refused
from tests.serving import Served, request, serve, watched

CASES = load("http.json")
GIVE_UP_SECONDS = 3
PAUSE_SECONDS = 0.03
"""Between two pieces, so that the service sees them apart."""
PROBE = b"GET /healthz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
EVERY_ANSWER = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}
FORBIDDEN = {"server", "x-powered-by", "location", "transfer-encoding", "set-cookie", "upgrade"}
CODES = {
    400: "invalid_request",
    401: "missing_token",
    404: "not_found",
    405: "method_not_allowed",
    413: "content_too_large",
    415: "unsupported_media_type",
    431: "head_too_large",
}


@dataclass
class Answer:
    """One answer as it stood on the wire."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Wire:
    """A connection that is read by hand: a library would hide what it does not expect."""

    address: tuple[str, int]

    def exchange(self, pieces: list[bytes]) -> bytes:
        """Send the pieces and return all that comes until the service closes."""
        received = b""
        with closing(socket.create_connection(self.address, timeout=GIVE_UP_SECONDS)) as wire:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for number, piece in enumerate(pieces):
                    if number:
                        time.sleep(PAUSE_SECONDS)
                    wire.sendall(piece)
            except ConnectionError:
                pass  # it was refused before its end, and the answer is there to be read
            try:
                while data := wire.recv(65536):
                    received += data
            except ConnectionError:
                pass  # a close as well: what was sent behind the refusal went unread
            except TimeoutError:
                raise AssertionError(f"still open after {received!r}") from None
        return received


def parse(received: bytes, without_content: bool) -> list[Answer]:
    """Split what was received into answers; what is left over is a fault."""
    answers: list[Answer] = []
    while received:
        head, end, received = received.partition(b"\r\n\r\n")
        assert end, head
        status_line, *lines = head.decode("ascii").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) [\w ]+", status_line)
        assert match, status_line
        answer = Answer(int(match[1]))
        for line in lines:
            name, colon, value = line.partition(": ")
            assert colon, line
            assert name.lower() not in answer.headers, line
            answer.headers[name.lower()] = value
        if answer.status != 100:
            length = int(answer.headers["content-length"])
            if not without_content or answer.headers.get("connection") == "close":
                assert len(received) >= length, received
                answer.body, received = received[:length], received[length:]
        answers.append(answer)
    return answers


def check(answer: Answer, without_content: bool) -> None:
    """Of the one shape, errors included, and with nothing in it that a stranger may not have."""
    assert answer.headers.items() >= EVERY_ANSWER.items(), answer
    assert not FORBIDDEN & set(answer.headers), answer
    if without_content:
        assert answer.body == b""
        return
    content = json.loads(answer.body)
    if answer.status >= 400:
        assert set(content) - {"fields"} == {"error", "error_description"}
        assert content["error"] == CODES[answer.status]


def pieces(case: Json, names: dict[str, str]) -> list[bytes]:
    return [text(piece, names) for piece in case["input"]["send"]]


@dataclass
class Attacked:
    """One service for all cases. `names` are what their texts may be filled with."""

    served: Served
    wire: Wire
    names: dict[str, str]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    with serve(tmp_path_factory.mktemp("attacked"), LOG_LEVEL="info", **watched()) as served:
        login = request("POST", f"{served.url}/login", json={"client_key": served.demo_key})
        names = {"token": login.json()["access_token"]}
        yield Attacked(served, Wire(("127.0.0.1", int(served.url.rpartition(":")[2]))), names)


@pytest.mark.parametrize("case", parameters(CASES))
def test_octets_are_answered_as_the_catalogue_says(attacked: Attacked, case: Json) -> None:
    """An open connection is one on which a plain request gets the next answer, and no other.

    So a request that was smuggled is found out, and no case has to wait for what must not come.
    """
    expect = case["expect"]
    before = attacked.served.console
    sent = pieces(case, attacked.names) + ([] if expect["closed"] else [PROBE])
    received = attacked.wire.exchange(sent)
    answers = parse(received, expect.get("head", False))
    expected = expect["answers"] + ([] if expect["closed"] else [200])
    assert [answer.status for answer in answers] == expected, received[:2000]
    for number, answer in enumerate(answers):
        is_probe = not expect["closed"] and number == len(answers) - 1
        if answer.status != 100:
            check(answer, expect.get("head", False) and not is_probe)
    first = answers[0].headers
    for name, value in expect.get("headers", {}).items():
        assert name in first if value is None else first.get(name) == value, first
    assert not set(expect.get("without", [])) & set(first), first
    assert b"evil" not in received.lower()
    assert attacked.served.console == before  # no stranger fills the log


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/me", "/login", "/nothing"])
def test_head_is_answered_with_the_headers_of_get(attacked: Attacked, path: str) -> None:
    def headers(method: str) -> dict[str, str]:
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        received = attacked.wire.exchange([request])
        head, _, body = received.partition(b"\r\n\r\n")
        assert bool(body) == (method == "GET")
        lines = head.decode().split("\r\n")
        named = dict(line.split(": ", 1) for line in lines[1:])
        return named | {"x-request-id": "", "date": "", "status": lines[0]}

    assert headers("HEAD") == headers("GET")


def test_where_a_proxy_says_that_a_request_came_from_is_not_believed(attacked: Attacked) -> None:
    """Anyone can write these; whom to trust is a setting, and by default it is nobody."""
    before = len(attacked.served.console)
    headers = {"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.7"}
    headers["Forwarded"] = "for=203.0.113.7"
    url = f"{attacked.served.url}/login"
    response = request("POST", url, json={"client_key": "wrong"}, headers=headers)
    assert_refused(response, 401, "invalid_client")
    logged = attacked.served.console[before:]
    assert "127.0.0.1" in logged
    assert "203.0.113.7" not in logged


def test_the_catalogue_of_octets_is_as_large_as_was_asked() -> None:
    refused = [case for case in CASES if case["expect"]["answers"][-1] >= 400]
    assert len(refused) >= 80
    assert len(CASES) - len(refused) >= 20  # what must be answered


def test_every_case_of_octets_is_whole_and_none_is_there_twice() -> None:
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert len({str(case["input"]) for case in CASES}) == len(CASES)
    assert len({case["description"] for case in CASES}) == len(CASES)
    for case in CASES:
        assert set(case) - {"known"} == {"id", "description", "reference", "input", "expect"}
        assert set(case["expect"]) - {"head", "headers", "without"} == {"answers", "closed"}
        assert re.fullmatch(r"[a-z0-9.-]+", case["id"])
        assert case["description"].endswith("."), case["id"]
        assert len(case["reference"]) >= 6, case["id"]
