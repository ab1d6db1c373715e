"""A client with a private key signs assertions, and each of them counts once (RFC 7523)."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.credentials.assertions import PublicKey, read_public_key
from authapi.credentials.client_keys import new_client_id
from authapi.revocation.purging import purge
from authapi.rules.assertions import MAX_UNNAMED
from authapi.store import client_keys
from authapi.store import clients as registry
from settings import Settings
from tests import forge
from tests.assertions import assertion, public_pem, shown
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import ENGINES, NOW, Clock, Do, Registered, url_for_settings
from tests.inline import Client
from tests.signing import ES256, RS256, Ed25519, Key

KEYS: dict[str, Key] = {"ES256": ES256(), "RS256": RS256(), "Ed25519": Ed25519()}


class Signer(NamedTuple):
    """A client without a secret, as its operator knows it."""

    id: str
    key: Key
    key_id: str

    def sign(self, **changes: Any) -> str:
        return assertion(self.key, self.id, **changes)


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, database_file: Any) -> str:
    return url_for_settings(request, request.param, database_file)


@pytest.fixture
def max_age() -> float:
    return 0


def public(key: Key) -> PublicKey:
    return read_public_key(public_pem(key))


def register(do: Do, key: Key, name: str = "signing") -> Signer:
    client_id, new = new_client_id(), public(key)
    assert do(lambda db: registry.create_client(db, client_id, name, new, int(NOW), "a b"))
    return Signer(client_id, key, new.id)


@pytest.fixture
def signer(do: Do) -> Signer:
    return register(do, KEYS["ES256"])


def ask(api: TestClient, text: str, path: str = "token", **form: str) -> Any:
    given = {"grant_type": "client_credentials"} if path == "token" and not form else {}
    return api.post(f"/oauth/{path}", data=shown(text, **(form or given)))


def granted(api: TestClient, signer: Signer) -> str:
    return str(assert_answer(ask(api, signer.sign()), 200)["access_token"])


def assert_not_let_in(api: TestClient, text: str, **form: str) -> None:
    form = form or {"grant_type": "client_credentials"}
    response = api.post("/oauth/token", data=shown(text, **form))
    assert_refused(response, 401, "invalid_client", text, scheme="Basic")


@pytest.mark.parametrize("alg", KEYS)
def test_it_authenticates_at_the_three_endpoints(api: TestClient, do: Do, alg: str) -> None:
    signer = register(do, KEYS[alg])
    token = granted(api, signer)
    claims = forge.claims_of(token)
    assert (claims["client_id"], claims["key_id"]) == (signer.id, signer.key_id)
    assert_answer(api.get("/me", headers=bearer(token)), 200)
    asked = ask(api, signer.sign(), "introspect", token=token)
    assert assert_answer(asked, 200)["client_id"] == signer.id
    assert assert_answer(ask(api, signer.sign(), "revoke", token=token), 200) == {}
    assert_refused(api.get("/me", headers=bearer(token)), 401, "invalid_token")


def test_its_client_id_may_stand_beside_it_and_no_other(api: TestClient, signer: Signer) -> None:
    form = {"grant_type": "client_credentials", "client_id": signer.id}
    assert_answer(api.post("/oauth/token", data=shown(signer.sign(), **form)), 200)
    assert_not_let_in(api, signer.sign(), **form | {"client_id": "ab12" * 5})


def test_an_assertion_counts_once_on_whichever_node(
    api: TestClient, signer: Signer, settings: Settings, clock: Clock
) -> None:
    text = signer.sign()
    assert_answer(ask(api, text), 200)
    assert_not_let_in(api, text)
    for path in ("introspect", "revoke"):
        refused = ask(api, text, path, token="x")
        assert_refused(refused, 401, "invalid_client", text, scheme="Basic")
    if settings.database_url.startswith("postgresql"):  # a file is served by one server
        with Client(create_app(settings, clock)) as other:
            assert_not_let_in(other, text)
    again = signer.sign(jti=json.loads(forge.decode(text.split(".")[1]))["jti"], exp=int(NOW) + 30)
    assert_not_let_in(api, again)


def test_a_refused_request_spends_nothing(api: TestClient, signer: Signer) -> None:
    text = signer.sign()
    more = ask(api, text, grant_type="client_credentials", scope="more")
    assert_refused(more, 400, "invalid_scope")
    bad = ask(api, text, grant_type="refresh_token", refresh_token="x")
    assert_refused(bad, 400, "invalid_grant")
    assert_refused(ask(api, text, grant_type="other"), 400, "unsupported_grant_type")
    assert_answer(ask(api, text), 200)


def test_to_revoke_anothers_token_spends_nothing(
    api: TestClient, signer: Signer, login: Callable[[], dict[str, str]]
) -> None:
    text, others = signer.sign(), login()["access_token"]
    assert_refused(ask(api, text, "revoke", token=others), 400, "invalid_grant")
    assert_answer(ask(api, text), 200)


def test_what_is_spent_stays_so_whatever_a_clock_did_and_a_purge_took(
    api: TestClient, signer: Signer, settings: Settings, clock: Clock, do: Do
) -> None:
    text = signer.sign()
    assert_answer(ask(api, text), 200)
    clock.advance(3600)
    assert_answer(ask(api, signer.sign(iat=int(clock.now), exp=int(clock.now) + 60)), 200)
    assert do(lambda db: purge(db, clock.now, settings.leeway_seconds)) == 1
    clock.now = NOW
    assert_not_let_in(api, text)


def test_a_purge_by_a_clock_far_ahead_keeps_nobody_out_for_long(
    api: TestClient,
    signer: Signer,
    settings: Settings,
    clock: Clock,
    do: Do,
    login: Callable[[], dict[str, str]],
) -> None:
    text = signer.sign()
    assert_answer(ask(api, text), 200)
    assert_answer(api.post("/refresh-token", json=login()), 200)  # which is spent for a week
    assert do(lambda db: purge(db, NOW + 30 * 86_400, settings.leeway_seconds)) == 2
    assert_not_let_in(api, text)
    clock.advance(120)
    now = int(clock.now)
    assert_answer(ask(api, signer.sign(iat=now, exp=now + 60)), 200)


def test_two_clients_may_choose_the_same_jti(api: TestClient, signer: Signer, do: Do) -> None:
    other = register(do, KEYS["Ed25519"], "other")
    for client in (signer, other):
        assert_answer(ask(api, client.sign(jti="1")), 200)


def test_a_jti_that_is_a_session_ends_none(
    api: TestClient, signer: Signer, login: Callable[[], dict[str, str]]
) -> None:
    pair = login()
    claims = forge.claims_of(pair["refresh_token"])
    for name in ("sid", "jti", "sub", "key_id"):
        assert_answer(ask(api, signer.sign(jti=claims[name])), 200)
    assert_answer(api.post("/refresh-token", json=pair), 200)


def test_the_public_key_is_no_secret(api: TestClient, signer: Signer) -> None:
    """Whoever knows the text whose hash is the thumbprint must not log in with it."""
    assert_answer(ask(api, signer.sign()), 200)
    members = {name: signer.key.public[name] for name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
    kept = json.loads(public(signer.key).public_key)
    for text in (canonical, kept["kid"], f"jkt:{kept['kid']}", json.dumps(kept)):
        assert_refused(api.post("/login", json={"client_key": text}), 401, "invalid_client")
        response = api.post(
            "/oauth/token", auth=(signer.id, text), data={"grant_type": "client_credentials"}
        )
        assert_refused(response, 401, "invalid_client", scheme="Basic")


def test_an_assertion_opens_no_route(api: TestClient, signer: Signer) -> None:
    for changes in ({}, {"scope": "a", "era": 0}):
        headers = bearer(signer.sign(**changes))
        assert_refused(api.get("/me", headers=headers), 401, "invalid_token")


def test_a_subject_that_no_database_takes_is_refused(api: TestClient) -> None:
    """And not answered as if the database were out of reach."""
    assert_not_let_in(api, assertion(KEYS["ES256"], "a\0"))


def test_with_a_secret_nobody_signs(api: TestClient, registered: Registered) -> None:
    assert_not_let_in(api, assertion(KEYS["ES256"], registered.id))


# How an operator ends it


def test_a_key_that_is_revoked_ends_what_it_began(api: TestClient, signer: Signer, do: Do) -> None:
    token = granted(api, signer)
    do(lambda db: client_keys.revoke_keys(db, [signer.key_id], NOW))
    assert_not_let_in(api, signer.sign())
    assert_refused(api.get("/me", headers=bearer(token)), 401, "invalid_token")


def test_a_disabled_client_is_not_let_in(api: TestClient, signer: Signer, do: Do) -> None:
    token = granted(api, signer)
    do(lambda db: registry.disable_client(db, signer.id, NOW))
    assert_not_let_in(api, signer.sign())
    assert_refused(api.get("/me", headers=bearer(token)), 401, "invalid_token")


def test_keys_are_rotated_with_an_overlap(
    api: TestClient, signer: Signer, do: Do, clock: Clock
) -> None:
    new, until = signer._replace(key=KEYS["Ed25519"]), int(NOW) + 3600
    (old,) = do(lambda db: client_keys.rotate_keys(db, signer.id, public(new.key), int(NOW), until))
    assert (old["id"], old["expires_at"]) == (signer.key_id, until)
    for each in (signer, new):
        granted(api, each)
    clock.now = until
    now = {"iat": until, "exp": until + 60}
    assert_not_let_in(api, signer.sign(**now))
    assert_answer(ask(api, new.sign(**now)), 200)


def test_of_two_keys_of_a_kind_the_right_one_is_found(
    api: TestClient, signer: Signer, do: Do
) -> None:
    other = signer._replace(key=ES256(kid="other"))
    do(lambda db: client_keys.add_key(db, signer.id, public(other.key), int(NOW)))
    for each in (signer, other):
        granted(api, each)


def test_of_many_keys_an_older_one_has_to_be_named(api: TestClient, signer: Signer, do: Do) -> None:
    """Else whoever knows the client could make the service try them all, at each request."""
    for number in range(1, MAX_UNNAMED + 1):
        new, later = public(ES256()), int(NOW) + number
        do(partial(client_keys.add_key, client_id=signer.id, key=new, now=later))
    assert_not_let_in(api, signer.sign())
    kid = json.loads(public(signer.key).public_key)["kid"]
    assert_answer(ask(api, signer.sign(header={"kid": kid})), 200)


def test_a_key_that_is_known_is_added_to_nobody(do: Do, signer: Signer) -> None:
    for client_id in (signer.id, register(do, KEYS["RS256"], "other").id):
        add = partial(client_keys.add_key, client_id=client_id, key=public(signer.key), now=1)
        with pytest.raises(client_keys.KnownKey):
            do(add)
    with pytest.raises(client_keys.KnownKey):
        do(lambda db: registry.create_client(db, "x", "x", public(signer.key), int(NOW)))
    assert do(lambda db: registry.find_named(db, "x")) is None


# What is told and counted


def test_it_is_told_and_counted_as_a_key_is(
    api: TestClient, signer: Signer, do: Do, caplog: pytest.LogCaptureFixture
) -> None:
    text = signer.sign()
    with caplog.at_level(logging.INFO, "auth.audit"):
        ask(api, text)
        ask(api, text)
        ask(api, assertion(RS256(), signer.id))
        ask(api, signer.sign(aud="elsewhere"))
    told = [vars(line)["details"] | {"event": line.getMessage()} for line in caplog.records
            if line.name == "auth.audit"]  # fmt: skip
    whose = {"client": signer.id, "key_id": signer.key_id}
    assert [(each["event"], each.get("reason")) for each in told] == [
        ("login", None),
        ("login_refused", "spent assertion"),
        ("login_refused", "assertion that no open key has signed"),
        ("login_refused", "assertion for others"),
    ]
    for number in (0, 1, 3):
        assert told[number] | whose == told[number]
    assert text not in caplog.text
    api.__exit__()  # which writes what was counted
    (row,) = do(lambda db: client_keys.list_keys(db, signer.id))
    assert (row["uses"], row["last_used_at"]) == (1, int(NOW))


@pytest.fixture
def limited(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    limited = replace(settings, login_failures_by_address="3/minute")
    with Client(create_app(limited, clock)) as api:
        yield api


def test_wrong_assertions_are_guesses(limited: TestClient, signer: Signer) -> None:
    text = signer.sign()
    assert_answer(ask(limited, text), 200)
    for wrong in (text, assertion(ES256(), signer.id), "x"):
        assert_not_let_in(limited, wrong)
    assert_refused(ask(limited, signer.sign()), 429, "too_many_failures")
