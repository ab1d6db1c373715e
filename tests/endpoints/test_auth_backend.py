"""The header is read by a table; the backend identifies, and never refuses."""

import asyncio

import pytest
from starlette.requests import HTTPConnection

from auth_backend import Anonymous, BearerBackend, Client, extract_bearer
from authapi.credentials.claims import Claims
from authapi.credentials.tokens import Tokens
from authapi.errors import InvalidRequest, InvalidToken, Refusal, TemporarilyUnavailable
from authapi.rules.revocations import Revocations
from tests import forge
from tests.conftest import DATABASE_ID, SECRET, Clock

HEADERS: dict[tuple[str, ...], str | type[Refusal] | None] = {
    ("Bearer abc",): "abc",
    ("bearer abc",): "abc",
    ("BEARER abc",): "abc",
    ("Bearer   abc  ",): "abc",
    ("Bearer a b",): "a b",
    ("Bearer ",): "",
    ("Bearer",): "",
    (): None,
    ("",): None,
    ("abc",): None,
    ("Basic abc",): None,
    ("Bearer\tabc",): None,
    ("Bearer=abc",): None,
    ("Bearer a", "Bearer a"): InvalidRequest,
    ("Bearer a", "Basic b"): InvalidRequest,
    ("", ""): InvalidRequest,
}


@pytest.mark.parametrize(("headers", "expected"), HEADERS.items())
def test_the_token_is_taken_from_the_one_bearer_header(
    headers: tuple[str, ...], expected: str | type[Refusal] | None
) -> None:
    if isinstance(expected, type):
        with pytest.raises(expected):
            extract_bearer(named(headers))
    else:
        assert extract_bearer(named(headers)) == expected


def named(values: tuple[str, ...]) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", value.encode()) for value in values]


class Judge(Revocations):
    """Answers what it is told to."""

    def __init__(self, answer: bool | Refusal) -> None:
        self.answer = answer

    async def is_ended(self, claims: Claims) -> bool:
        if isinstance(self.answer, Refusal):
            raise self.answer
        return self.answer


def backend(clock: Clock, answer: bool | Refusal) -> BearerBackend:
    tokens = Tokens([SECRET], "auth-api", "auth-api", 900, 604_800, 10, clock)
    tokens.serve(DATABASE_ID)
    return BearerBackend(tokens, Judge(answer))


def connection(token: str) -> HTTPConnection:
    headers = [(b"authorization", f"Bearer {token}".encode())]
    return HTTPConnection({"type": "http", "headers": headers})


def test_a_good_token_makes_a_client_with_its_scopes(clock: Clock) -> None:
    request = connection(forge.token(scope="read write"))
    credentials, user = asyncio.run(backend(clock, False).authenticate(request))
    assert credentials.scopes == ["read", "write"]
    assert isinstance(user, Client)
    assert user.is_authenticated
    assert (user.identity, user.display_name, user.claims.sid) == (
        "client-1",
        "client-1",
        "session-1",
    )


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [(True, InvalidToken), (TemporarilyUnavailable(), TemporarilyUnavailable)],
)
def test_whoever_is_refused_is_a_stranger_with_the_reason(
    clock: Clock, answer: bool | Refusal, refusal: type[Refusal]
) -> None:
    request = connection(forge.token())
    credentials, user = asyncio.run(backend(clock, answer).authenticate(request))
    assert credentials.scopes == []
    assert isinstance(user, Anonymous)
    assert not user.is_authenticated
    assert (user.identity, user.display_name) == ("", "")
    assert isinstance(user.refusal, refusal)
