"""Keys as a pipeline manages them: added with an end, rotated, found and revoked."""

import pytest
from starlette.testclient import TestClient

from authapi.credentials.client_keys import new_client_key
from authapi.store.own_keys import MAX_KEYS
from tests.checks import assert_answer, assert_refused
from tests.conftest import Clock
from tests.managing.conftest import Admin, log_in, on_one_engine
from tests.signing import ES256
from tests.steps import assert_alive, assert_session_is_over

DAY = 86_400
LISTED = {
    "key_id",
    "kind",
    "created_at",
    "expires_at",
    "revoked_at",
    "last_used_at",
    "uses",
    "made_by",
}


def keys_of(root: Admin, client_id: str) -> dict[str, dict[str, object]]:
    listed = root.get(f"/admin/clients/{client_id}/keys")["keys"]
    return {key["key_id"]: key for key in listed}


def test_a_key_is_added_with_an_end(root: Admin, api: TestClient, clock: Clock) -> None:
    client, end = root.make("billing")["user_id"], int(clock.now) + DAY
    response = root.call("POST", f"/admin/clients/{client}/keys", {"expires_at": end})
    added = assert_answer(response, 201)
    assert set(added) == {"user_id", "client_key", "key_id", "expires_at"}
    assert response.headers["location"] == f"/admin/keys/{added['key_id']}"
    assert log_in(api, added["client_key"])["key_expires_at"] == end
    shown = root.get(response.headers["location"])
    assert set(shown) == LISTED | {"user_id", "name"}
    assert (shown["user_id"], shown["expires_at"]) == (client, end)
    clock.advance(DAY)
    refused = api.post("/login", json={"client_key": added["client_key"]})
    assert_refused(refused, 401, "invalid_client")


def test_a_client_is_made_that_signs_and_has_no_secret(root: Admin) -> None:
    one, two = ES256("one"), ES256("two")
    made = root.make("signer", public_key=one.public)
    assert "client_key" not in made
    place = f"/admin/clients/{made['user_id']}/keys"
    added = assert_answer(root.call("POST", place, {"public_key": two.public}), 201)
    assert set(added) == {"user_id", "key_id", "expires_at"}
    assert {key["kind"] for key in keys_of(root, made["user_id"]).values()} == {"ES256"}
    for body in ({"public_key": one.public}, {"public_key": two.public}):
        assert_refused(root.call("POST", place, body), 409, "key_taken")
        assert_refused(root.call("POST", f"{place}/rotate", body), 409, "key_taken")
        refused = root.call("POST", "/admin/clients", {"name": "x"} | body)
        assert_refused(refused, 409, "key_taken")
    assert len(keys_of(root, made["user_id"])) == 2
    assert root.get("/admin/clients?name=x")["clients"] == []


def test_a_rotation_lets_the_old_keys_go_on_for_the_overlap(
    root: Admin, api: TestClient, clock: Clock
) -> None:
    made = root.make("billing")
    place = f"/admin/clients/{made['user_id']}/keys/rotate"
    response = root.call("POST", place, {"overlap": 60})
    rotated = assert_answer(response, 201)
    assert set(rotated) == {"user_id", "client_key", "key_id", "old_keys"}
    assert response.headers["location"] == f"/admin/keys/{rotated['key_id']}"
    (old,) = rotated["old_keys"]
    assert (old["key_id"], old["expires_at"]) == (made["key_id"], int(clock.now) + 60)
    for key in (made["client_key"], rotated["client_key"]):
        log_in(api, key)
    clock.advance(60)
    refused = api.post("/login", json={"client_key": made["client_key"]})
    assert_refused(refused, 401, "invalid_client")
    log_in(api, rotated["client_key"])
    (old,) = assert_answer(root.call("POST", place, {}), 201)["old_keys"]
    assert old["expires_at"] == int(clock.now) + DAY


def test_keys_are_listed_page_by_page(root: Admin, clock: Clock) -> None:
    made = root.make("billing")
    place = f"/admin/clients/{made['user_id']}/keys"
    for _ in range(2):
        clock.advance(1)
        assert_answer(root.call("POST", place, {}), 201)
    page = root.get(f"{place}?limit=2")
    last = root.get(f"{place}?limit=2&after={page['cursor']}")
    assert [len(each["keys"]) for each in (page, last)] == [2, 1]
    assert page["keys"][0]["key_id"] == made["key_id"]
    assert "cursor" not in last


def test_a_revoked_key_opens_nothing_when_that_was_answered(root: Admin, api: TestClient) -> None:
    made = root.make("billing")
    pair, place = log_in(api, made["client_key"]), f"/admin/keys/{made['key_id']}"
    owner = {"user_id": made["user_id"], "name": "billing", "open_keys": 0}
    told = {"unknown": [], "owners": {made["key_id"]: owner}}
    assert assert_answer(root.call("DELETE", place), 200) == told | {
        "revoked": [made["key_id"]],
        "already_revoked": [],
    }
    assert_session_is_over(api, pair)
    again = assert_answer(root.call("DELETE", place), 200)
    assert again == told | {"revoked": [], "already_revoked": [made["key_id"]]}
    assert root.get(place)["revoked_at"] is not None


def test_what_leaked_is_found_and_revoked(root: Admin, api: TestClient) -> None:
    one, two, stranger = root.make("one"), root.make("two"), new_client_key()
    pair, spared = log_in(api, one["client_key"]), log_in(api, two["client_key"])
    forged = f"ck_{two['key_id']}_{'a' * 43}00000000"
    text = f"KEY={one['client_key']}\n{forged} x{stranger.text}y"
    revoked = assert_answer(root.call("POST", "/admin/leaks", {"text": text}), 200)
    assert revoked["revoked"] == [one["key_id"]]
    assert revoked["unknown"] == [stranger.id]
    assert set(revoked["owners"]) == {one["key_id"]}
    assert_session_is_over(api, pair)
    assert_alive(api, spared)


@on_one_engine
@pytest.mark.parametrize("text", ["", "nothing", "ck_"])
def test_a_text_without_a_key_is_told_so(root: Admin, text: str) -> None:
    response = root.call("POST", "/admin/leaks", {"text": text})
    assert list(assert_refused(response, 400, "invalid_request")["fields"]) == ["text"]


@on_one_engine
@pytest.mark.parametrize(
    ("path", "body"),
    [
        *(("keys", {"expires_at": end}) for end in (0, -1, 1.5, "9", True, 2**60)),
        *(("keys/rotate", {"overlap": seconds}) for seconds in (0, -1, 1.5, "9", True, 2**60)),
        ("keys", {"expires": 1}),
        ("keys/rotate", {"expires_at": None}),
        *((path, {"public_key": None}) for path in ("keys", "keys/rotate")),
    ],
)
def test_a_wrong_end_is_named(root: Admin, path: str, body: dict[str, object]) -> None:
    made = root.make("billing")
    refused = root.call("POST", f"/admin/clients/{made['user_id']}/{path}", body)
    assert list(assert_refused(refused, 400, "invalid_request")["fields"]) == list(body)
    assert len(keys_of(root, made["user_id"])) == 1


@pytest.mark.parametrize("key_id", ["x", "0" * 16, "%00", "0" * 20, "A" * 16, f"{'0' * 16}%0A"])
def test_an_id_of_no_key_is_not_found(root: Admin, key_id: str) -> None:
    for method in ("GET", "DELETE"):
        assert_refused(root.call(method, f"/admin/keys/{key_id}"), 404, "not_found")


@pytest.mark.parametrize("path", ["keys", "keys/rotate"])
def test_a_client_has_so_many_open_keys_and_no_more(root: Admin, path: str) -> None:
    """Of which the answer to the last names all, and is kept."""
    made = root.make("billing")
    place = f"/admin/clients/{made['user_id']}/{path}"
    for number in range(MAX_KEYS - 1):
        key = f"request-number-{number}"
        assert_answer(root.call("POST", place, {}, Idempotency_Key=key), 201)
    assert_refused(root.call("POST", place, {}), 409, "too_many_open_keys")
    assert_answer(root.call("DELETE", f"/admin/keys/{made['key_id']}"), 200)
    assert_answer(root.call("POST", place, {}), 201)
    assert_refused(root.call("POST", place, {}), 409, "too_many_open_keys")
