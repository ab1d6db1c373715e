"""The header is read by a table; the backend identifies, and never refuses."""

import asyncio

import pytest
from starlette.requests import HTTPConnection

from auth_backend import Anonymous, BearerBackend, Client, extract_bearer
from authapi.credentials.claims import Claims
from authapi.errors import InvalidRequest, InvalidToken, Refusal, TemporarilyUnavailable
from tests.conftest import DATABASE_ID

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


CLAIMS = Claims(
    "client-1", "session-1", "jti-1", "key-1", "read write", 0, 1, 2, database_id=DATABASE_ID
)


def backend(answer: Claims | Refusal) -> BearerBackend:
    async def check(token: str) -> Claims:
        assert token == "abc"
        if isinstance(answer, Refusal):
            raise answer
        return answer

    return BearerBackend(check)


def connection() -> HTTPConnection:
    return HTTPConnection({"type": "http", "headers": named(("Bearer abc",))})


def test_a_good_token_makes_a_client_with_its_scopes() -> None:
    credentials, user = asyncio.run(backend(CLAIMS).authenticate(connection()))
    assert credentials.scopes == ["read", "write"]
    assert isinstance(user, Client)
    assert user.is_authenticated
    assert (user.identity, user.display_name, user.claims.sid) == (
        "client-1",
        "client-1",
        "session-1",
    )


@pytest.mark.parametrize("refusal", [InvalidToken(), TemporarilyUnavailable()])
def test_who_is_refused_is_anonymous_with_the_reason(refusal: Refusal) -> None:
    credentials, user = asyncio.run(backend(refusal).authenticate(connection()))
    assert credentials.scopes == []
    assert isinstance(user, Anonymous)
    assert not user.is_authenticated
    assert (user.identity, user.display_name) == ("", "")
    assert user.refusal is refusal
    assert refusal.__traceback__ is None
