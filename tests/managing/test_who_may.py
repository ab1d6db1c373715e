"""Nobody gains a scope by managing, touches who holds more, or locks the last one out."""

import asyncio

import pytest
from starlette.testclient import TestClient

from authapi.engines.database import Database
from authapi.store.administration import LASTING_SECONDS
from authapi.store.client_keys import add_uses
from settings import Settings
from tests.checks import assert_answer, assert_refused
from tests.conftest import NOW, Trail
from tests.managing.conftest import Admin, Administer, log_in, on_one_engine
from tests.signing import ES256
from tests.steps import log_out

LESSER = "admin:read admin:write reports:read"


def assert_beyond(response: object) -> None:
    body = assert_answer(response, 403)  # type: ignore[arg-type]
    assert body["error"] == "insufficient_scope"


@on_one_engine
def test_each_needs_its_scope(root: Admin, administer: Administer) -> None:
    made = root.make("billing")
    client, key = f"/admin/clients/{made['user_id']}", f"/admin/keys/{made['key_id']}"
    reads = [("GET", path, None) for path in ("/admin/clients", client, f"{client}/keys", key)]
    writes = [
        ("POST", "/admin/clients", {"name": "x"}),
        ("PATCH", client, {"disabled": True}),
        ("DELETE", client, None),
        ("POST", f"{client}/end-sessions", None),
        ("POST", f"{client}/keys", {}),
        ("POST", f"{client}/keys/rotate", {}),
        ("DELETE", key, None),
        ("POST", "/admin/leaks", {"text": made["client_key"]}),
    ]
    reader, writer = administer("r", "admin:read"), administer("w", "admin:write")
    nobody, asked_less = administer("n", "reports:read"), administer("l", LESSER, "reports:read")
    for method, path, body in reads:
        assert_answer(reader.call(method, path, body), 200)
        for other in (writer, nobody, asked_less):
            assert_beyond(other.call(method, path, body))
    for method, path, body in writes:
        for other in (reader, nobody, asked_less):
            assert_beyond(other.call(method, path, body))
        assert_refused(root.api.request(method, path), 401, "missing_token")
    assert root.get(client)["disabled_at"] is None


def test_nobody_grants_what_they_do_not_hold(root: Admin, administer: Administer) -> None:
    lesser = administer("lesser", LESSER)
    for scopes in ("reports:write", "reports:read reports:write", f"{LESSER} x", "Reports:read"):
        response = lesser.call("POST", "/admin/clients", {"name": "x", "scopes": scopes})
        assert_beyond(response)
        assert list(response.json()["fields"]) == ["scopes"]
        for client_id in (lesser.id, lesser.make(f"x{scopes}")["user_id"]):
            place = f"/admin/clients/{client_id}"
            assert_beyond(lesser.call("PATCH", place, {"scopes": scopes}))
    assert root.get(f"/admin/clients/{lesser.id}")["scopes"] == LESSER
    assert root.get("/admin/clients?name=x")["clients"] == []


def test_a_token_that_asked_for_less_grants_less(administer: Administer) -> None:
    asked = administer("root", asked="admin:write")
    body = {"name": "x", "scopes": "reports:read"}
    assert_beyond(asked.call("POST", "/admin/clients", body))
    assert_beyond(asked.call("PATCH", f"/admin/clients/{asked.id}", {"name": "y"}))


def test_nobody_touches_a_client_that_holds_more(
    root: Admin, administer: Administer, api: TestClient
) -> None:
    lesser, made = administer("lesser", LESSER), root.make("big", "reports:write")
    client, key = f"/admin/clients/{made['user_id']}", f"/admin/keys/{made['key_id']}"
    changes: list[dict[str, object]] = [{"name": "y"}, {"scopes": ""}, {"disabled": True}]
    changes += [{"metadata": {}}, {}]
    for method, path, body in (
        *(("PATCH", client, each) for each in changes),
        ("DELETE", client, None),
        ("POST", f"{client}/end-sessions", None),
        ("POST", f"{client}/keys", {}),
        ("POST", f"{client}/keys/rotate", {}),
        ("DELETE", key, None),
    ):
        assert_beyond(lesser.call(method, path, body))
    assert root.get(client)["name"] == "big"
    assert len(root.get(f"{client}/keys")["keys"]) == 1
    log_in(api, made["client_key"])
    assert lesser.get(client)["scopes"] == "reports:write"


def test_whoever_shows_a_key_may_end_it(root: Admin, administer: Administer) -> None:
    lesser, made = administer("lesser", LESSER), root.make("big", "reports:write")
    response = lesser.call("POST", "/admin/leaks", {"text": made["client_key"]})
    assert assert_answer(response, 200)["revoked"] == [made["key_id"]]


def test_nobody_locks_the_last_administrator_out(root: Admin, administer: Administer) -> None:
    place = f"/admin/clients/{root.id}"
    (key,) = root.get(f"{place}/keys")["keys"]
    root.make("reader", "admin:read")
    ways = (
        ("PATCH", place, {"disabled": True}),
        ("PATCH", place, {"scopes": "admin:read"}),
        ("PATCH", place, {"scopes": ""}),
        ("DELETE", place, None),
        ("DELETE", f"/admin/keys/{key['key_id']}", None),
    )
    for method, path, body in ways:
        assert_refused(root.call(method, path, body), 409, "last_administrator")
    assert root.get(place)["disabled_at"] is None
    disabled = root.make("disabled", "admin:write")["user_id"]
    root.change(disabled, disabled=True)
    keyless = root.make("keyless", "admin:write")
    assert_answer(root.call("DELETE", f"/admin/keys/{keyless['key_id']}"), 200)
    for method, path, body in ways:
        assert_refused(root.call(method, path, body), 409, "last_administrator")
    administer("other")
    assert_answer(root.call("DELETE", place), 200)


def test_a_key_that_ends_soon_keeps_no_administrator_in(root: Admin, api: TestClient) -> None:
    place = f"/admin/clients/{root.id}"
    (key,) = root.get(f"{place}/keys")["keys"]
    for seconds in (2, LASTING_SECONDS - 1):
        assert_answer(root.call("POST", f"{place}/keys", {"expires_at": int(NOW) + seconds}), 201)
        refused = root.call("DELETE", f"/admin/keys/{key['key_id']}")
        assert_refused(refused, 409, "last_administrator")
        log_in(api, root.key)
    ends_later = {"expires_at": int(NOW) + LASTING_SECONDS}
    assert_answer(root.call("POST", f"{place}/keys", ends_later), 201)
    assert_answer(root.call("DELETE", f"/admin/keys/{key['key_id']}"), 200)


def test_a_public_key_that_never_logged_in_keeps_no_administrator_in(
    root: Admin, api: TestClient, settings: Settings
) -> None:
    """It may be anybody's."""
    place = f"/admin/clients/{root.id}"
    (key,) = root.get(f"{place}/keys")["keys"]
    given = {"public_key": ES256("anybody").public, "overlap": 1}
    refused = root.call("POST", f"{place}/keys/rotate", given)
    assert_refused(refused, 409, "last_administrator")
    log_in(api, root.key)
    rotated = root.call("POST", f"{place}/keys/rotate", given | {"overlap": LASTING_SECONDS})
    assert_answer(rotated, 201)
    refused = root.call("DELETE", f"/admin/keys/{key['key_id']}")
    assert_refused(refused, 409, "last_administrator")

    async def use() -> None:
        async with Database(settings.database_url) as database:
            await add_uses(database, rotated.json()["key_id"], 1, int(NOW))

    asyncio.run(use())
    assert_answer(root.call("DELETE", f"/admin/keys/{key['key_id']}"), 200)


def test_the_last_administrator_may_rotate_and_be_renamed(root: Admin, api: TestClient) -> None:
    place = f"/admin/clients/{root.id}"
    rotated = assert_answer(root.call("POST", f"{place}/keys/rotate", {"overlap": 1}), 201)
    log_in(api, rotated["client_key"])
    root.change(root.id, name="first")


@pytest.mark.parametrize("way", ["logged out", "disabled", "stripped", "revoked"])
def test_a_token_that_was_ended_manages_nothing(
    root: Admin, administer: Administer, api: TestClient, way: str
) -> None:
    other = administer("other")
    (key,) = root.get(f"/admin/clients/{other.id}/keys")["keys"]
    if way == "logged out":
        log_out(api, other.token)
    elif way == "revoked":
        root.call("DELETE", f"/admin/keys/{key['key_id']}")
    else:
        root.change(other.id, **({"disabled": True} if way == "disabled" else {"scopes": LESSER}))
    refused = other.call("POST", "/admin/clients", {"name": "x"})
    assert_refused(refused, 401, "invalid_token")


def test_a_forged_token_of_an_administrator_manages_nothing(root: Admin) -> None:
    forged = Admin(root.api, root.id, "", root.token[:-2] + "AA")
    assert_refused(forged.call("GET", "/admin/clients"), 401, "invalid_token")


def test_whoever_is_refused_is_named_with_whom_they_meant(
    root: Admin, administer: Administer, trail: Trail
) -> None:
    """So that no flood of strangers hides it."""
    place = f"/admin/clients/{root.id}"
    assert_refused(root.call("DELETE", place), 409, "last_administrator")
    lesser = administer("lesser", LESSER)
    assert_beyond(lesser.call("PATCH", place, {"disabled": True}))
    (key,) = root.get(f"{place}/keys")["keys"]
    assert_beyond(lesser.call("DELETE", f"/admin/keys/{key['key_id']}"))
    assert_beyond(lesser.call("POST", "/admin/clients", {"name": "x", "scopes": "x"}))
    for name in ("one", "two"):
        root.call("POST", "/admin/clients", {"name": name}, Idempotency_Key="x" * 16)
    refused = [line for line in trail() if line["event"] == "management_refused"]
    assert [(line["client"], line.get("target")) for line in refused] == [
        (root.id, root.id),
        *[(lesser.id, root.id)] * 2,
        (lesser.id, None),
        (root.id, None),
    ]
