"""A token that was ours is no longer one, once its client, its key or its session is over."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests import forge
from tests.attacks.recipes import CURRENT
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import NOW, Clock, Register, Registered
from tests.inline import Client
from tests.sqlite import opened

Pair = dict[str, str]
Login = Callable[[], Pair]
Ask = Callable[[str], None]


@pytest.fixture
def max_age() -> float:
    """The tests here change the database as another process would."""
    return 0


@pytest.fixture
def ask(database_file: Path) -> Ask:
    """Change the database by hand, as an operator may."""

    def ask(script: str) -> None:
        with opened(database_file) as database:
            database.executescript(script)

    return ask


def assert_refreshes(api: TestClient, pair: Pair, grant: bool) -> None:
    response = api.post("/refresh-token", json={"refresh_token": pair["refresh_token"]})
    if grant:
        assert_answer(response, 200)
    else:
        assert_refused(response, 401, "invalid_grant", pair["refresh_token"])


def assert_opens(api: TestClient, pair: Pair, *paths: str) -> None:
    for path in paths or ("/secure-data", "/me"):
        assert_answer(api.get(path, headers=bearer(pair["access_token"])), 200)


def assert_opens_nothing(api: TestClient, pair: Pair) -> None:
    token = pair["access_token"]
    for path in ("/secure-data", "/me"):
        assert_refused(api.get(path, headers=bearer(token)), 401, "invalid_token", token)
    assert_refreshes(api, pair, grant=False)


def log_in(api: TestClient, client: Registered) -> Pair:
    pair: Pair = assert_answer(api.post("/login", json={"client_key": client.key}), 200)
    return pair


def end_everywhere(api: TestClient, pair: Pair) -> None:
    headers = bearer(pair["access_token"])
    assert_answer(api.post("/logout", headers=headers, json={"everywhere": True}), 200)


def disable(client: Registered) -> str:
    """What `manage.py disable-client` writes."""
    return f"""
        UPDATE clients SET disabled_at = {int(NOW)} WHERE id = '{client.id}';
        INSERT INTO revoked_jtis
        VALUES ('{client.id}', 'disabled', {NOW + 1}, {int(NOW) + 604_800}, NULL, NULL, NULL);
    """


def delete(client: Registered) -> str:
    return f"""
        DELETE FROM client_keys WHERE client_id = '{client.id}';
        DELETE FROM clients WHERE id = '{client.id}';
    """


def test_before_anything_is_done_to_it_a_session_goes_on(api: TestClient, login: Login) -> None:
    pair = login()
    assert_opens(api, pair)
    assert_refreshes(api, pair, grant=True)


def test_a_disabled_client_has_no_tokens(
    api: TestClient, registered: Registered, login: Login, ask: Ask
) -> None:
    pair = login()
    ask(disable(registered))
    assert_opens_nothing(api, pair)
    response = api.post("/login", json={"client_key": registered.key})
    assert_refused(response, 401, "invalid_client", registered.key)


def test_a_client_that_is_enabled_again_has_none_of_its_old_tokens(
    api: TestClient, registered: Registered, login: Login, ask: Ask
) -> None:
    pair = login()
    ask(disable(registered) + "UPDATE clients SET disabled_at = NULL;")
    assert_opens_nothing(api, pair)
    assert_opens(api, login())


def test_a_deleted_client_gets_nothing_new(
    api: TestClient, registered: Registered, login: Login, ask: Ask
) -> None:
    pair = login()
    ask(delete(registered))
    assert_refreshes(api, pair, grant=False)
    assert_refused(api.get("/me", headers=bearer(pair["access_token"])), 401, "invalid_token")
    response = api.post("/login", json={"client_key": registered.key})
    assert_refused(response, 401, "invalid_client", registered.key)


def test_a_disabled_and_deleted_client_has_no_tokens(
    api: TestClient, registered: Registered, login: Login, ask: Ask
) -> None:
    pair = login()
    ask(disable(registered) + delete(registered))
    assert_opens_nothing(api, pair)


def test_a_client_of_the_same_name_is_another(
    api: TestClient, registered: Registered, login: Login, ask: Ask, register: Register
) -> None:
    old = login()
    ask(disable(registered) + delete(registered))
    again = register("reporting")
    new = log_in(api, again)
    assert again.id != registered.id
    assert_opens_nothing(api, old)
    assert_opens(api, new)
    response = api.post("/logout", headers=bearer(old["access_token"]), json={"everywhere": True})
    assert_refused(response, 401, "invalid_token")
    assert_opens(api, new)


def test_a_client_of_the_same_id_with_another_key_does_not_inherit_sessions(
    api: TestClient, registered: Registered, login: Login, ask: Ask, register: Register
) -> None:
    """What a restored backup or a hand-made row may bring about."""
    old = login()
    ask(delete(registered))
    again = register("reporting")
    ask(
        f"""
        UPDATE client_keys SET client_id = '{registered.id}' WHERE id = '{again.key_id}';
        UPDATE clients SET id = '{registered.id}' WHERE id = '{again.id}';
        """
    )
    assert_refreshes(api, old, grant=False)
    assert_opens(api, log_in(api, again))


REVOKE = {
    "revoked": "UPDATE client_keys SET revoked_at = 1;",
    "over": f"UPDATE client_keys SET expires_at = {int(NOW)};",
    "deleted": "DELETE FROM client_keys;",
}


@pytest.mark.parametrize("what", REVOKE)
def test_a_session_ends_with_the_key_that_began_it(
    api: TestClient, login: Login, ask: Ask, what: str
) -> None:
    pair = login()
    ask(REVOKE[what])
    assert_refreshes(api, pair, grant=False)


def test_a_key_that_is_ended_by_its_id_ends_its_tokens_at_once(
    api: TestClient, registered: Registered, login: Login, ask: Ask
) -> None:
    pair = login()
    row = f"'{registered.key_id}', 'revoked', {NOW}, {int(NOW) + 604_800}, NULL, NULL, NULL"
    ask(f"INSERT INTO revoked_jtis VALUES ({row});")
    assert_opens_nothing(api, pair)


def test_a_logged_out_session_is_over_for_all_that_it_was_given(
    api: TestClient, login: Login
) -> None:
    first = login()
    body = {"refresh_token": first["refresh_token"]}
    second: Pair = assert_answer(api.post("/refresh-token", json=body), 200)
    assert_answer(api.post("/logout", headers=bearer(first["access_token"])), 200)
    assert_opens_nothing(api, first)
    assert_opens_nothing(api, second)
    assert_opens(api, login())


def test_everywhere_ends_what_there_was_and_nothing_since(api: TestClient, login: Login) -> None:
    old = [login(), login()]
    end_everywhere(api, old[0])
    new = login()
    for pair in old:
        assert_opens_nothing(api, pair)
    assert_opens(api, new)


def test_whoever_writes_a_later_era_into_a_token_has_to_sign_it(
    api: TestClient, login: Login
) -> None:
    pair = login()
    end_everywhere(api, pair)
    claims = forge.claims_of(pair["access_token"]) | {"era": NOW + 999}
    forged = forge.token(secret=CURRENT, **claims)
    assert_opens_nothing(api, pair | {"access_token": forged})


def test_a_reused_refresh_token_costs_the_session_all_that_it_has(
    api: TestClient, login: Login, clock: Clock
) -> None:
    stolen, other = login(), login()
    body = {"refresh_token": stolen["refresh_token"]}
    heir: Pair = assert_answer(api.post("/refresh-token", json=body), 200)
    clock.advance(10.1)
    assert_refreshes(api, stolen, grant=False)
    assert_opens_nothing(api, stolen)
    assert_opens_nothing(api, heir)
    assert_opens(api, other)


def test_a_token_of_one_client_is_not_another_clients(
    api: TestClient, login: Login, register: Register
) -> None:
    """The signature binds the subject: what is cut and pasted together is nobody's."""
    mine, theirs = login(), log_in(api, register("somebody-else"))
    for name in ("access_token", "refresh_token"):
        header, payload, _ = mine[name].split(".")
        pasted = {**mine, name: f"{header}.{payload}.{theirs[name].split('.')[2]}"}
        token = pasted[name]
        if name == "access_token":
            response = api.get("/secure-data", headers=bearer(token))
            assert_refused(response, 401, "invalid_token", token)
        else:
            assert_refreshes(api, pasted, grant=False)
    assert_opens(api, mine)
    assert_opens(api, theirs)


def test_a_key_that_was_not_kept_opens_nothing(
    settings: Settings, registered: Registered, clock: Clock
) -> None:
    with Client(create_app(settings, clock)) as before:
        pair = log_in(before, registered)
        assert_opens(before, pair)
    with Client(create_app(replace(settings, secret_key=CURRENT), clock)) as after:
        assert_opens_nothing(after, pair)
        token = pair["access_token"]
        response = after.post("/logout", headers=bearer(token))
        assert_refused(response, 401, "invalid_token", token)
        assert_opens(after, log_in(after, registered))
