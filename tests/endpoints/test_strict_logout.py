"""A log-out that is answered when no verifier elsewhere believes what it heard before, either."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from settings import Settings
from tests import forge
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import Registered
from tests.steps import assert_session_is_over

LEASE = 0.5
"""Shorter than a setting may be, so that the tests do not take long."""
MAX_AGE = 0.1

Login = Callable[[], dict[str, Any]]


@pytest.fixture(params=[1, 2], ids=["alone", "with other workers"])
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    return replace(
        settings,
        workers=request.param,
        revocation_max_age_seconds=MAX_AGE,
        feed_lease_seconds=LEASE,
    )


def seconds_for(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_log_out_for_verifiers_outlasts_their_lease_and_so_does_a_repeat(
    api: TestClient, login: Login, everywhere: bool
) -> None:
    pair = login()
    body = {"verifiers": True, "everywhere": everywhere}
    headers = bearer(pair["access_token"])
    for _ in range(2):
        took = seconds_for(
            lambda: assert_answer(api.post("/logout", headers=headers, json=body), 200)
        )
        assert took >= LEASE
    assert_session_is_over(api, pair)


@pytest.mark.parametrize("body", [{}, {"verifiers": False}, {"verifiers": "no"}])
def test_without_it_nobody_waits_for_them(
    api: TestClient, login: Login, body: dict[str, Any]
) -> None:
    """The fastest of several: a busy machine may hold each of them up."""

    def log_out() -> None:
        headers = bearer(login()["access_token"])
        assert_answer(api.post("/logout", headers=headers, json=body), 200)

    assert min(seconds_for(log_out) for _ in range(3)) < LEASE


def test_what_is_refused_does_not_wait(api: TestClient) -> None:
    foreign = bearer(forge.token(secret="k" * 32))

    def refused() -> None:
        response = api.post("/logout", headers=foreign, json={"verifiers": True})
        assert_refused(response, 401, "invalid_token")

    assert min(seconds_for(refused) for _ in range(3)) < LEASE


def test_a_word_that_is_neither_true_nor_false_is_refused(api: TestClient, login: Login) -> None:
    headers = bearer(login()["access_token"])
    response = api.post("/logout", headers=headers, json={"verifiers": "perhaps"})
    assert list(assert_refused(response, 400, "invalid_request")["fields"]) == ["verifiers"]


def test_a_revocation_for_verifiers_outlasts_their_lease_too(
    api: TestClient, login: Login, registered: Registered
) -> None:
    pair = login()
    form = {"token": pair["access_token"], "verifiers": "true"}
    credentials = (registered.id, registered.key)
    for _ in range(2):
        took = seconds_for(
            lambda: assert_answer(api.post("/oauth/revoke", data=form, auth=credentials), 200)
        )
        assert took >= LEASE
    assert_session_is_over(api, pair)
