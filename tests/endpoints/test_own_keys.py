"""A client looks after its own keys: it makes the next one, and ends the old or a leaked one."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.credentials.assertions import read_public_key
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.engines.database import Database
from authapi.rules.own_keys import OVERLAP_SECONDS, SHOWN_SECONDS
from authapi.store import client_keys
from authapi.store import clients as registry
from authapi.store.own_keys import MAX_KEYS, MAX_LISTED
from authapi.store.revocations import end_session, ending_by_operator
from settings import Settings
from tests import forge
from tests.assertions import assertion, public_pem, shown
from tests.checks import assert_answer, assert_refused, bearer, in_capitals
from tests.conftest import ENGINES, NOW, Clock, Do, Registered, url_for_settings
from tests.inline import Client
from tests.signing import ES256, Ed25519

SHOWN = {"message": "If that was a client key, it opens nothing any more."}


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, database_file: Path) -> str:
    return url_for_settings(request, request.param, database_file)


@pytest.fixture(params=[0, 0.1], ids=["asks the database", "judges from its copy"])
def max_age(request: pytest.FixtureRequest) -> float:
    age: float = request.param
    return age


def create(do: Do, name: str = "billing", scopes: str = "keys:self reports:read") -> Registered:
    client_id, key = new_client_id(), new_client_key()
    assert do(lambda db: registry.create_client(db, client_id, name, key, int(NOW), scopes))
    return Registered(client_id, key.text, key.id)


@pytest.fixture
def billing(do: Do) -> Registered:
    return create(do)


def log_in(api: TestClient, key: str, status: int = 200) -> Any:
    return assert_answer(api.post("/login", json={"client_key": key}), status)


def session(api: TestClient, key: str) -> dict[str, str]:
    return bearer(log_in(api, key)["access_token"])


def ask_next(
    api: TestClient, key: str, as_client: dict[str, str] | None = None, **body: Any
) -> Any:
    """As `as_client`, or in a new session, with the key as the proof."""
    headers = as_client or session(api, key)
    return api.post("/me/keys/rotate", headers=headers, json={"client_key": key} | body)


def rotate(api: TestClient, key: str, **body: Any) -> Any:
    return assert_answer(ask_next(api, key, **body), 200)


def own_keys(api: TestClient, as_client: dict[str, str]) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = assert_answer(api.get("/me/keys", headers=as_client), 200)["keys"]
    return keys


def end(api: TestClient, as_client: dict[str, str], key_id: str) -> Any:
    return api.delete(f"/me/keys/{key_id}", headers=as_client)


def test_a_client_makes_its_next_key_uses_it_and_ends_the_old_one(
    api: TestClient, billing: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    old = session(api, billing.key)
    made = rotate(api, billing.key)
    assert made == {
        "user_id": billing.id,
        "key_id": made["client_key"].split("_")[1],
        "expires_at": None,
        "client_key": made["client_key"],
    }
    assert api.get("/secure-data", headers=session(api, billing.key)).status_code == 200
    new = session(api, made["client_key"])
    assert assert_answer(end(api, new, billing.key_id), 200) == {"message": "Revoked."}
    log_in(api, billing.key, 401)
    assert_refused(api.get("/secure-data", headers=old), 401, "invalid_token")
    assert api.get("/secure-data", headers=new).status_code == 200
    assert_answer(end(api, new, billing.key_id), 200)
    events = [
        vars(record)["details"] | {"event": record.message}
        for record in caplog.records
        if record.message.startswith("key_")
    ]
    for event in events:
        del event["request_id"], event["address"]
    named = {"client": billing.id, "actor": billing.id}
    assert events == [
        named | {"event": "key_rotated", "key_id": made["key_id"], "made_by": billing.key_id},
        named | {"event": "key_revoked", "key_id": billing.key_id, "by": made["key_id"]},
    ]


def test_a_client_lists_its_keys_and_nothing_of_others(
    api: TestClient, billing: Registered, do: Do, clock: Clock
) -> None:
    create(do, "another")
    as_client = session(api, billing.key)
    (first,) = own_keys(api, as_client)
    assert first == {
        "key_id": billing.key_id,
        "kind": "secret",
        "created_at": int(NOW),
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,  # known within a minute
        "uses": 0,
        "made_by": None,
        "current": True,
    }
    clock.advance(1)
    made = rotate(api, billing.key)
    oldest, newest = own_keys(api, session(api, made["client_key"]))
    assert (newest["key_id"], newest["made_by"]) == (made["key_id"], billing.key_id)
    assert (newest["current"], oldest["current"]) == (True, False)
    assert made["client_key"] not in json.dumps([newest, oldest])


def test_a_key_that_is_open_is_listed_however_many_came_later(
    api: TestClient, billing: Registered, do: Do
) -> None:
    """Else a thief would hide one behind those that were made and ended since."""

    async def add(database: Database) -> None:
        for number in range(MAX_LISTED):
            key, now = new_client_key(), int(NOW) - 1000 + number
            await client_keys.add_key(database, billing.id, key, now, now + 1)
        await client_keys.add_key(database, billing.id, hidden, int(NOW) - 2000)

    hidden = new_client_key()
    do(add)
    listed = own_keys(api, session(api, billing.key))
    assert len(listed) == MAX_LISTED
    assert (listed[0]["key_id"], listed[-1]["current"]) == (hidden.id, True)
    moments = [key["created_at"] for key in listed]
    assert moments == sorted(moments)


ROUTES = [
    ("GET", "/me/keys"),
    ("POST", "/me/keys/rotate"),
    ("DELETE", "/me/keys/0123456789abcdef"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_it_needs_the_scope(api: TestClient, do: Do, method: str, path: str) -> None:
    assert_refused(api.request(method, path), 401, "missing_token")
    client = create(do, scopes="reports:read keys")
    response = api.request(method, path, headers=session(api, client.key))
    assert assert_answer(response, 403)["error"] == "insufficient_scope"
    assert 'scope="keys:self"' in response.headers["www-authenticate"]


@pytest.mark.parametrize(
    "wrong", ["0" * 16, "x", "0" * 5000, "%00", "%C3%A9", "' OR 1=1", "rotate ", "..%2fkeys"]
)
def test_an_unknown_key_is_not_found(api: TestClient, billing: Registered, wrong: str) -> None:
    as_client = session(api, billing.key)
    assert_refused(end(api, as_client, wrong), 404, "not_found")
    assert_refused(end(api, as_client, in_capitals(billing.key_id)), 404, "not_found")
    assert api.get("/me", headers=as_client).status_code == 200


def test_a_key_of_another_client_is_as_unknown_and_stays_as_it_is(
    api: TestClient, billing: Registered, do: Do
) -> None:
    other = create(do, "another")
    as_client = session(api, billing.key)
    foreign, unknown = end(api, as_client, other.key_id), end(api, as_client, "0" * 16)
    assert_refused(foreign, 404, "not_found", other.key_id)
    assert foreign.json() == unknown.json()
    log_in(api, other.key)


def test_a_next_key_ends_with_the_one_that_made_it(
    api: TestClient, billing: Registered, do: Do, clock: Clock
) -> None:
    """Else a client would outlive the end that its operator has set."""
    until, limited = int(NOW) + 90, new_client_key()
    do(lambda db: client_keys.add_key(db, billing.id, limited, int(NOW), until))
    made = rotate(api, limited.text)
    assert made["expires_at"] == until
    clock.advance(60)
    again = rotate(api, made["client_key"])
    assert again["expires_at"] == until
    last = session(api, again["client_key"])
    clock.advance(30)
    log_in(api, again["client_key"], 401)
    # A token outlives its key, and makes no other one.
    assert api.get("/secure-data", headers=last).status_code == 200
    assert_refused(ask_next(api, again["client_key"], last), 401, "invalid_client")


def test_an_operators_overlap_bounds_what_is_made_in_it(
    api: TestClient, billing: Registered, do: Do
) -> None:
    key, until = new_client_key(), int(NOW) + 50
    do(lambda db: client_keys.rotate_keys(db, billing.id, key, int(NOW), until))
    assert rotate(api, billing.key)["expires_at"] == until


def test_a_key_whose_answer_was_lost_ends_after_the_overlap(
    api: TestClient, billing: Registered, clock: Clock
) -> None:
    lost = rotate(api, billing.key)["client_key"]
    made = rotate(api, billing.key)["client_key"]
    for key in (billing.key, lost, made):
        log_in(api, key)  # so nobody is refused, should it not be lost
    clock.advance(OVERLAP_SECONDS)
    log_in(api, lost, 401)
    for key in (billing.key, made):
        log_in(api, key)


def test_what_other_keys_made_goes_on(api: TestClient, billing: Registered, clock: Clock) -> None:
    """Machines that each have a key of their own do not end each other's."""
    one = rotate(api, billing.key)["client_key"]
    of_one = rotate(api, one)["client_key"]
    other = rotate(api, of_one)["client_key"]
    rotate(api, of_one)
    clock.advance(OVERLAP_SECONDS)
    for key in (billing.key, one, of_one):
        log_in(api, key)
    log_in(api, other, 401)


def test_a_client_has_a_bounded_number_of_keys(
    api: TestClient, billing: Registered, clock: Clock
) -> None:
    as_client = session(api, billing.key)
    made = [rotate(api, billing.key) for _ in range(MAX_KEYS - 1)]
    # To end one makes no room for another, or there would be any number of rows.
    assert_answer(end(api, as_client, made[-1]["key_id"]), 200)
    response = ask_next(api, billing.key, as_client)
    assert_refused(response, 429, "too_many_keys")
    assert response.headers["retry-after"] == str(OVERLAP_SECONDS)
    assert len(own_keys(api, as_client)) == MAX_KEYS
    clock.advance(OVERLAP_SECONDS + 1)
    rotate(api, billing.key)


@pytest.fixture
def behind(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    """A worker that judges by a copy of its start."""
    slow = replace(settings, workers=2, revocation_max_age_seconds=60, revocation_poll_seconds=60)
    with Client(create_app(slow, clock)) as api:
        yield api


@pytest.mark.parametrize("what", ["client", "key", "session"])
def test_what_was_ended_makes_no_key_even_where_that_is_not_known_yet(
    behind: TestClient, billing: Registered, do: Do, what: str
) -> None:
    """Else it would be the one thing that outlives the end: it is judged in the transaction."""
    pair, now = log_in(behind, billing.key), time.time()
    as_client, sid = bearer(pair["access_token"]), forge.claims_of(pair["access_token"])["sid"]
    do(
        {
            "client": lambda db: registry.disable_client(db, billing.id, now),
            "key": lambda db: client_keys.revoke_keys(db, [billing.key_id], now),
            "session": lambda db: end_session(db, ending_by_operator(sid, "logged_out", now)),
        }[what]
    )
    assert_answer(behind.get("/secure-data", headers=as_client), 200)
    assert_refused(ask_next(behind, billing.key, as_client), 401, "invalid_token")
    assert len(do(lambda db: client_keys.list_keys(db, billing.id))) == 1


def test_a_client_that_is_gone_makes_no_key(api: TestClient, billing: Registered, do: Do) -> None:
    as_client = session(api, billing.key)
    do(lambda db: db.execute("DELETE FROM client_keys"))
    assert_answer(ask_next(api, billing.key, as_client), 401)


def test_a_slip_makes_no_key(api: TestClient, billing: Registered) -> None:
    as_client = session(api, billing.key)
    response = ask_next(api, billing.key, publick_key="x")
    assert_refused(response, 400, "invalid_request")
    assert response.json()["fields"] == {"publick_key": ["Unknown field."]}
    assert len(own_keys(api, as_client)) == 1


# Proof of the key


def test_a_token_alone_makes_no_key(api: TestClient, billing: Registered, do: Do) -> None:
    """Else a stolen one with the scope keys:self would become every scope, for good."""
    as_client, other = session(api, billing.key), new_client_key()
    do(lambda db: client_keys.add_key(db, billing.id, other, int(NOW)))
    foreign = create(do, "another")
    response = api.post("/me/keys/rotate", headers=as_client, json={})
    assert_refused(response, 400, "invalid_request")
    assert set(response.json()["fields"]) == {"client_key"}
    for key in (other.text, foreign.key, new_client_key().text, billing.key_id, "x"):
        assert_refused(ask_next(api, key, as_client), 401, "invalid_client")
    assert len(own_keys(api, as_client)) == 2


def test_whoever_guesses_the_proof_is_slowed_down(
    settings: Settings, billing: Registered, clock: Clock
) -> None:
    limited = replace(settings, login_failures_by_address="3/hour")
    with Client(create_app(limited, clock)) as api:
        as_client = session(api, billing.key)
        for _ in range(3):
            refused = ask_next(api, new_client_key().text, as_client)
            assert_refused(refused, 401, "invalid_client")
        assert_refused(ask_next(api, billing.key, as_client), 429, "too_many_failures")


def test_the_only_administrator_keeps_its_last_key(
    settings: Settings, do: Do, clock: Clock
) -> None:
    root = create(do, "root", "keys:self admin:write")
    with Client(create_app(replace(settings, management="on"), clock)) as api:
        as_client = session(api, root.key)
        assert_refused(end(api, as_client, root.key_id), 409, "last_administrator")
        made = rotate(api, root.key)
        assert_answer(end(api, session(api, made["client_key"]), root.key_id), 200)
        # Whoever shows a key could do worse with it.
        assert assert_answer(end_shown(api, made["client_key"]), 200) == SHOWN
        log_in(api, made["client_key"], 401)


def test_where_nobody_manages_the_scope_is_like_any_other(api: TestClient, do: Do) -> None:
    client = create(do, scopes="keys:self admin:write")
    assert_answer(end(api, session(api, client.key), client.key_id), 200)
    log_in(api, client.key, 401)


# Keys that leaked


def end_shown(api: TestClient, key: str) -> Any:
    return api.post("/me/keys/revoke", json={"client_key": key})


def test_whoever_shows_a_key_ends_it(
    api: TestClient, billing: Registered, do: Do, caplog: pytest.LogCaptureFixture
) -> None:
    as_client, second = session(api, billing.key), new_client_key()
    do(lambda db: client_keys.add_key(db, billing.id, second, int(NOW)))
    assert assert_answer(end_shown(api, f" {billing.key}\n"), 200) == SHOWN
    log_in(api, billing.key, 401)
    assert_refused(api.get("/secure-data", headers=as_client), 401, "invalid_token")
    log_in(api, second.text)
    (event,) = (record for record in caplog.records if record.message == "key_revoked")
    assert vars(event)["details"]["by"] == billing.key_id
    assert assert_answer(end_shown(api, billing.key), 200) == SHOWN


@pytest.mark.parametrize("kind", ["unknown", "torn", "another secret"])
def test_what_is_no_key_is_answered_alike_and_as_late(
    api: TestClient, billing: Registered, kind: str
) -> None:
    wrong = {
        "unknown": new_client_key().text,
        "torn": billing.key[:-1],
        "another secret": f"{billing.key[:20]}{new_client_key().text[20:]}",
    }[kind]
    began = time.perf_counter()
    assert assert_answer(end_shown(api, wrong), 200) == SHOWN
    unknown = time.perf_counter() - began
    assert_answer(end_shown(api, billing.key), 200)
    known = time.perf_counter() - began - unknown
    assert min(unknown, known) >= SHOWN_SECONDS
    log_in(api, billing.key, 401)


def test_whoever_guesses_keys_so_is_slowed_down(
    settings: Settings, billing: Registered, clock: Clock
) -> None:
    limited = replace(settings, login_failures_by_address="3/hour")
    with Client(create_app(limited, clock)) as api:
        for _ in range(3):
            assert_answer(end_shown(api, new_client_key().text), 200)
        assert_refused(end_shown(api, billing.key), 429, "too_many_failures")
        assert_refused(
            api.post("/login", json={"client_key": billing.key}), 429, "too_many_failures"
        )
    with Client(create_app(settings, clock)) as api:
        log_in(api, billing.key)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"client_key": 1},
        {"client_key": "x", "key": "y"},
        {"client_key": "x", "client_assertion": "y"},
        {"client_assertion": ["x"]},
    ],
)
def test_a_key_is_shown_as_text_and_nothing_else_with_it(
    api: TestClient, body: dict[str, Any]
) -> None:
    assert_refused(api.post("/me/keys/revoke", json=body), 400, "invalid_request")


# Keys that sign

PRIVATE = ES256()
NEXT = Ed25519()


@pytest.fixture
def signing(do: Do) -> str:
    client_id, key = new_client_id(), read_public_key(public_pem(PRIVATE))
    assert do(
        lambda db: registry.create_client(db, client_id, "signing", key, int(NOW), "keys:self")
    )
    return client_id


def signed_session(api: TestClient, client_id: str, key: Any = PRIVATE) -> dict[str, str]:
    form = shown(assertion(key, client_id), grant_type="client_credentials")
    token: str = assert_answer(api.post("/oauth/token", data=form), 200)["access_token"]
    return bearer(token)


def ask_signed(
    api: TestClient, client_id: str, as_client: dict[str, str], key: Any = PRIVATE, **body: Any
) -> Any:
    proof = {"client_assertion": assertion(key, client_id)}
    return api.post("/me/keys/rotate", headers=as_client, json=proof | body)


def rotate_signed(api: TestClient, client_id: str, as_client: dict[str, str], **body: Any) -> Any:
    return assert_answer(ask_signed(api, client_id, as_client, **body), 200)


def test_a_client_that_signs_brings_its_next_public_key(api: TestClient, signing: str) -> None:
    old = signed_session(api, signing)
    made = rotate_signed(api, signing, old, public_key=public_pem(NEXT).decode())
    assert set(made) == {"user_id", "key_id", "expires_at"}
    new = signed_session(api, signing, NEXT)
    (former,) = (key["key_id"] for key in own_keys(api, new) if not key["current"])
    assert_answer(end(api, new, former), 200)
    assert_refused(api.get("/me", headers=old), 401, "invalid_token")


def test_a_repeat_with_the_same_public_key_adds_no_other(api: TestClient, signing: str) -> None:
    as_client, public = signed_session(api, signing), json.dumps(NEXT.public)
    made = [rotate_signed(api, signing, as_client, public_key=public) for _ in range(3)]
    assert made[0] == made[1] == made[2]
    assert len(own_keys(api, as_client)) == 2


def test_a_public_key_that_has_ended_is_not_given_back(
    api: TestClient, signing: str, clock: Clock
) -> None:
    as_client, public = signed_session(api, signing), json.dumps(NEXT.public)
    rotate_signed(api, signing, as_client, public_key=public)
    rotate_signed(api, signing, as_client, public_key=json.dumps(ES256().public))
    clock.advance(OVERLAP_SECONDS)
    now: dict[str, Any] = {"iat": int(clock()), "exp": int(clock()) + 60}
    form = shown(assertion(PRIVATE, signing, **now), grant_type="client_credentials")
    token = assert_answer(api.post("/oauth/token", data=form), 200)["access_token"]
    body = {"client_assertion": assertion(PRIVATE, signing, **now), "public_key": public}
    response = api.post("/me/keys/rotate", headers=bearer(token), json=body)
    assert_refused(response, 409, "key_taken")


def test_an_assertion_proves_a_key_once_and_that_of_the_session_alone(
    api: TestClient, signing: str, billing: Registered
) -> None:
    as_client, public = signed_session(api, signing), json.dumps(NEXT.public)
    proof: dict[str, Any] = {"client_assertion": assertion(PRIVATE, signing)}
    body = proof | {"public_key": public}
    assert_answer(api.post("/me/keys/rotate", headers=as_client, json=body), 200)
    for wrong in (body, {"client_assertion": assertion(NEXT, signing), "public_key": public}):
        refused = api.post("/me/keys/rotate", headers=as_client, json=wrong)
        assert_refused(refused, 401, "invalid_client")
    both = ask_next(api, billing.key, **proof)
    assert_refused(both, 400, "invalid_request")


def test_a_client_that_signs_gets_no_secret(api: TestClient, signing: str) -> None:
    """Its operator chose that there is none to be stolen."""
    response = ask_signed(api, signing, signed_session(api, signing))
    assert_refused(response, 400, "invalid_request")
    assert set(response.json()["fields"]) == {"public_key"}


def test_a_client_with_a_secret_may_go_over_to_a_public_key(
    api: TestClient, billing: Registered
) -> None:
    rotate(api, billing.key, public_key=public_pem(NEXT).decode())
    assert signed_session(api, billing.id, NEXT)


def test_a_public_key_that_is_known_or_none_is_refused(
    api: TestClient, signing: str, billing: Registered
) -> None:
    as_client = session(api, billing.key)
    known = {"public_key": public_pem(PRIVATE).decode()}
    assert_refused(ask_next(api, billing.key, as_client, **known), 409, "key_taken")
    for wrong in ("{}", "ck_", json.dumps(PRIVATE.jwk)):
        response = ask_next(api, billing.key, as_client, public_key=wrong)
        assert_refused(response, 400, "invalid_request")
        assert set(response.json()["fields"]) == {"public_key"}
    assert len(own_keys(api, as_client)) == 1


# Private keys that leaked


def end_signed(api: TestClient, text: str) -> Any:
    return api.post("/me/keys/revoke", json={"client_assertion": text})


def log_in_signed(api: TestClient, client_id: str, key: Any, status: int) -> None:
    form = shown(assertion(key, client_id), grant_type="client_credentials")
    assert_answer(api.post("/oauth/token", data=form), status)


@pytest.mark.parametrize("is_disabled", [False, True])
def test_whoever_signs_by_a_key_ends_it(
    api: TestClient, signing: str, do: Do, caplog: pytest.LogCaptureFixture, is_disabled: bool
) -> None:
    """Also of a disabled client, which may be let in again."""
    second = read_public_key(public_pem(NEXT))
    do(lambda db: client_keys.add_key(db, signing, second, int(NOW)))
    as_client = signed_session(api, signing)
    if is_disabled:
        do(lambda db: registry.disable_client(db, signing, NOW))
    text = assertion(PRIVATE, signing)
    assert assert_answer(end_signed(api, text), 200) == SHOWN
    if is_disabled:
        do(lambda db: registry.enable_client(db, signing, NOW))
    log_in_signed(api, signing, PRIVATE, 401)
    assert_refused(api.get("/me", headers=as_client), 401, "invalid_token")
    log_in_signed(api, signing, NEXT, 200)
    (event,) = (record for record in caplog.records if record.message == "key_revoked")
    told = vars(event)["details"]
    assert told["client"] == signing
    assert told["by"] == told["key_id"] != second.id
    assert assert_answer(end_signed(api, text), 200) == SHOWN


WRONG: dict[str, dict[str, Any]] = {
    "for others": {"aud": "https://other.example"},
    "old": {"iat": int(NOW) - 400, "exp": int(NOW) + 60},
    "of the future": {"iat": int(NOW) + 60, "exp": int(NOW) + 120},
    "of nobody": {"iss": "0" * 20, "sub": "0" * 20},
    "without an id": {"jti": ...},
}


@pytest.mark.parametrize("kind", [*WRONG, "by another key", "torn", "spent"])
def test_an_assertion_that_does_not_count_ends_nothing_and_is_a_failed_login(
    settings: Settings, signing: str, clock: Clock, kind: str
) -> None:
    limited = replace(settings, login_failures_by_address="1/hour")
    with Client(create_app(limited, clock)) as api:
        key = NEXT if kind == "by another key" else PRIVATE
        text = assertion(key, signing, **WRONG.get(kind, {}))
        if kind == "torn":
            text = text[:-1]
        if kind == "spent":
            form = shown(text, grant_type="client_credentials")
            assert_answer(api.post("/oauth/token", data=form), 200)
        began = time.perf_counter()
        assert assert_answer(end_signed(api, text), 200) == SHOWN
        assert time.perf_counter() - began >= SHOWN_SECONDS
        refused = end_signed(api, assertion(PRIVATE, signing))
        assert_refused(refused, 429, "too_many_failures")
    with Client(create_app(settings, clock)) as api:
        log_in_signed(api, signing, PRIVATE, 200)
