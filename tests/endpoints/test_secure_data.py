"""GET /secure-data: a route that an access token opens, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests import forge
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import NOW, Clock
from tests.sqlite import opened

Login = Callable[[], dict[str, str]]


@pytest.fixture
def max_age() -> float:
    """The tests here change the database by hand."""
    return 0


def test_an_access_token_opens_it(api: TestClient, login: Login) -> None:
    pair = login()
    answer = assert_answer(api.get("/secure-data", headers=bearer(pair["access_token"])), 200)
    assert answer == {"message": "This is what the token opens.", "user_id": pair["user_id"]}


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer   "])
def test_the_scheme_is_read_as_the_rfc_says(api: TestClient, login: Login, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {login()['access_token']}"}
    assert_answer(api.get("/secure-data", headers=headers), 200)


def test_without_a_token_the_challenge_is_bare(api: TestClient) -> None:
    assert_refused(api.get("/secure-data"), 401, "missing_token")


@pytest.mark.parametrize("header", ["Basic abc", "Digest x", "x", "", "Bearerx y"])
def test_another_scheme_is_no_token(api: TestClient, header: str) -> None:
    response = api.get("/secure-data", headers={"Authorization": header})
    assert_refused(response, 401, "missing_token")


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Bearer a b"])
def test_a_bad_token_is_challenged_as_such(api: TestClient, header: str) -> None:
    response = api.get("/secure-data", headers={"Authorization": header})
    assert_refused(response, 401, "invalid_token")


def test_two_authorization_headers_are_malformed(api: TestClient, login: Login) -> None:
    header = ("Authorization", f"Bearer {login()['access_token']}")
    response = api.get("/secure-data", headers=[header, header])
    assert_refused(response, 400, "invalid_request")


def test_a_refresh_token_opens_nothing(api: TestClient, login: Login) -> None:
    response = api.get("/secure-data", headers=bearer(login()["refresh_token"]))
    assert_refused(response, 401, "invalid_token")


def test_an_access_token_is_over_when_it_says(api: TestClient, login: Login, clock: Clock) -> None:
    headers = bearer(login()["access_token"])
    clock.now = NOW // 1 + 900 + 9.9  # the leeway is 10 seconds
    assert_answer(api.get("/secure-data", headers=headers), 200)
    clock.now = NOW // 1 + 900 + 10
    assert_refused(api.get("/secure-data", headers=headers), 401, "invalid_token")


def test_a_token_in_the_query_or_a_cookie_opens_nothing(api: TestClient, login: Login) -> None:
    token = login()["access_token"]
    for url, headers in (
        (f"/secure-data?access_token={token}", {}),
        ("/secure-data", {"Cookie": f"access_token={token}"}),
    ):
        assert_refused(api.get(url, headers=headers), 401, "missing_token", token)


@pytest.mark.parametrize("claim", ["jti", "sid", "key_id", "sub"])
def test_a_row_with_an_id_of_the_token_ends_it(
    api: TestClient, login: Login, database_file: Path, claim: str
) -> None:
    token = login()["access_token"]
    with opened(database_file) as database:
        row = (forge.claims_of(token)[claim], "by hand", NOW, int(NOW) + 900)
        database.execute("INSERT INTO revoked_jtis VALUES (?, ?, ?, ?, NULL, NULL, NULL)", row)
    assert_refused(api.get("/secure-data", headers=bearer(token)), 401, "invalid_token", token)
