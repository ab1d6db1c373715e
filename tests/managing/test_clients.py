"""Clients as a pipeline manages them: made, found, changed in place, logged out and deleted."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import create_app, managing
from authapi.managing.validation import MAX_NOTE, MAX_NOTES
from settings import Settings
from tests import forge, signing
from tests.checks import assert_answer, assert_refused
from tests.conftest import Clock, Trail
from tests.inline import Client
from tests.managing.conftest import ROOT_SCOPES, Admin, Administer, log_in, on_one_engine
from tests.steps import assert_alive, assert_session_is_over

LIMITS = {"login_limit", "session_limit"}
CLIENT = {"user_id", "name", "scopes", "metadata", "created_at", "disabled_at", *LIMITS}
NOBODY = "0" * 20


def test_a_client_is_made_with_a_place_and_a_key_that_opens(root: Admin, api: TestClient) -> None:
    body = {"name": "billing", "scopes": "reports:read", "metadata": {"team": "pay"}}
    response = root.call("POST", "/admin/clients", body)
    made = assert_answer(response, 201)
    assert set(made) == CLIENT | {"key_id", "client_key"}
    assert response.headers["location"] == f"/admin/clients/{made['user_id']}"
    assert log_in(api, made["client_key"])["scope"] == "reports:read"
    read = root.get(response.headers["location"])
    assert read == {name: made[name] for name in CLIENT}
    assert read["metadata"] == {"team": "pay"}


def test_a_name_is_given_once(root: Admin) -> None:
    root.make("billing")
    response = root.call("POST", "/admin/clients", {"name": "billing"})
    assert_refused(response, 409, "name_taken", "billing")
    other = root.make("other")["user_id"]
    response = root.call("PATCH", f"/admin/clients/{other}", {"name": "billing", "scopes": ""})
    assert_refused(response, 409, "name_taken")
    assert root.get(f"/admin/clients/{other}")["name"] == "other"


def test_pages_follow_each_other_the_oldest_first(
    root: Admin, clock: Clock, api: TestClient
) -> None:
    names = [f"client-{number}" for number in range(5)]
    for name in names:
        clock.advance(1)
        root.make(name)
    seen, cursor, page = [], "", {}
    for _ in range(3):
        page = root.get(f"/admin/clients?limit=2{cursor}")
        seen += [client["name"] for client in page["clients"]]
        cursor = f"&after={page.get('cursor')}"
    assert seen == ["root", *names]
    assert "cursor" not in page
    assert set(page["clients"][0]) == CLIENT | {"open_keys", "last_used_at"}


def test_clients_are_found_by_name_scope_and_state(root: Admin) -> None:
    root.make("a", "reports:read")
    b = root.make("b", "reports:read reports:write")["user_id"]
    root.change(b, disabled=True)

    def found(query: str) -> list[str]:
        names = [client["name"] for client in root.get(f"/admin/clients?{query}")["clients"]]
        return sorted(names)

    assert found("name=a") == ["a"]
    assert found("name=A") == found("name=nobody") == []
    assert found("scope=reports:write&disabled=true") == ["b"]
    assert found("scope=reports:read&disabled=false") == ["a", "root"]
    assert found("scope=reports") == found("scope=REPORTS:READ") == []


@on_one_engine
@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(("limit=" + each, "limit") for each in ("0", "201", "-1", "1e1", "", "x")),
        *(("after=" + each, "after") for each in ("", "1", f"01-{NOBODY}", f"1-{NOBODY[1:]}g")),
        *(("scope=" + each, "scope") for each in ("", "a%20b", "%22")),
        *(("disabled=" + each, "disabled") for each in ("1", "True", "")),
        *(("name=" + each, "name") for each in ("", "a%00", "%20a")),
        ("name=a&name=a", "name"),
        ("nmae=a", "nmae"),
    ],
)
def test_a_list_is_asked_for_in_one_form(root: Admin, query: str, field: str) -> None:
    body = assert_refused(root.call("GET", f"/admin/clients?{query}"), 400, "invalid_request")
    assert list(body["fields"]) == [field]


def test_what_is_not_named_stays_as_it_is(root: Admin, api: TestClient) -> None:
    made = root.make("billing", "reports:read", metadata={"team": "pay"})
    pair = log_in(api, made["client_key"])
    changed = root.change(made["user_id"], name="bills")
    assert changed == {name: made[name] for name in CLIENT} | {"name": "bills"}
    changed = root.change(made["user_id"], metadata={"tier": "1"}, disabled=False)
    assert (changed["name"], changed["metadata"]) == ("bills", {"tier": "1"})
    assert_alive(api, pair)


def test_limits_are_set_and_taken_away_each_for_itself(root: Admin, api: TestClient) -> None:
    made = root.make("billing")
    changed = root.change(made["user_id"], login_limit="9/hour", session_limit=1)
    assert (changed["login_limit"], changed["session_limit"]) == ("9/hour", 1)
    pair = log_in(api, made["client_key"])
    response = api.post("/login", json={"client_key": made["client_key"]})
    assert_refused(response, 429, "too_many_sessions")
    changed = root.change(made["user_id"], session_limit=None)
    assert (changed["login_limit"], changed["session_limit"]) == ("9/hour", None)
    log_in(api, made["client_key"])
    assert_alive(api, pair)


def test_more_scopes_spare_the_sessions_and_fewer_end_them(root: Admin, api: TestClient) -> None:
    made = root.make("billing", "reports:read")
    pair = log_in(api, made["client_key"])
    root.change(made["user_id"], scopes="reports:read reports:write")
    assert_alive(api, pair)
    pair = log_in(api, made["client_key"])
    root.change(made["user_id"], scopes="reports:write")
    assert_session_is_over(api, pair)
    assert log_in(api, made["client_key"])["scope"] == "reports:write"


def test_a_disabled_client_gets_nothing_when_that_was_answered(
    root: Admin, api: TestClient
) -> None:
    made = root.make("billing")
    pair = log_in(api, made["client_key"])
    assert root.change(made["user_id"], disabled=True)["disabled_at"] is not None
    assert_session_is_over(api, pair)
    refused = api.post("/login", json={"client_key": made["client_key"]})
    assert_refused(refused, 401, "invalid_client")
    assert root.change(made["user_id"], disabled=False)["disabled_at"] is None
    assert_alive(api, log_in(api, made["client_key"]))


def test_to_end_sessions_lets_a_client_log_in_again(root: Admin, api: TestClient) -> None:
    made = root.make("billing")
    pair = log_in(api, made["client_key"])
    response = root.call("POST", f"/admin/clients/{made['user_id']}/end-sessions")
    assert assert_answer(response, 200) == {
        "user_id": made["user_id"],
        "name": "billing",
        "sessions_ended": True,
    }
    assert_session_is_over(api, pair)
    assert_alive(api, log_in(api, made["client_key"]))


def test_of_a_deleted_client_nothing_lives(root: Admin, api: TestClient) -> None:
    made = root.make("billing")
    pair, place = log_in(api, made["client_key"]), f"/admin/clients/{made['user_id']}"
    deleted = assert_answer(root.call("DELETE", place), 200)
    assert deleted == {"user_id": made["user_id"], "name": "billing", "deleted": True}
    assert_session_is_over(api, pair)
    refused = api.post("/login", json={"client_key": made["client_key"]})
    assert_refused(refused, 401, "invalid_client")
    for method, path in (
        ("GET", place),
        ("DELETE", place),
        ("GET", f"{place}/keys"),
        ("GET", f"/admin/keys/{made['key_id']}"),
    ):
        assert_refused(root.call(method, path), 404, "not_found")
    assert root.make("billing")["user_id"] != made["user_id"]


def test_two_pipelines_do_not_undo_each_other(root: Admin) -> None:
    made = root.make("billing", "reports:read")
    place = f"/admin/clients/{made['user_id']}"
    tag = root.call("GET", place).headers["etag"]
    response = root.call("PATCH", place, {"metadata": {"by": "one"}}, If_Match=tag)
    assert_answer(response, 200)
    newer = response.headers["etag"]
    for method, body in (("PATCH", {"scopes": ""}), ("DELETE", None)):
        for stale in (tag, '"x"', f"W/{newer}"):
            refused = root.call(method, place, body, If_Match=stale)
            assert_refused(refused, 412, "precondition_failed")
    assert root.get(place)["scopes"] == "reports:read"
    for good in (newer, f'"x", {newer}', "*"):
        assert_answer(root.call("PATCH", place, {}, If_Match=good), 200)
    assert_refused(root.call("PATCH", place, {}, If_Match=newer[:-1]), 400, "invalid_request")
    assert_answer(root.call("DELETE", place, If_Match=newer), 200)


BAD = [
    ({"name": "x", "scope": "a"}, "scope"),
    ({"name": "x", "disabled": True}, "disabled"),
    ({"name": "x", "user_id": NOBODY}, "user_id"),
    ({}, "name"),
    ({"name": 1}, "name"),
    ({"name": " x"}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": "x", "scopes": "a  b"}, "scopes"),
    ({"name": "x", "scopes": ["a"]}, "scopes"),
    ({"name": "x", "metadata": {"a": 1}}, "metadata"),
    ({"name": "x", "metadata": {"a": "b\n"}}, "metadata"),
    ({"name": "x", "metadata": {"": "b"}}, "metadata"),
    ({"name": "x", "metadata": {"a": "b" * 201}}, "metadata"),
    ({"name": "x", "metadata": {str(n): "" for n in range(21)}}, "metadata"),
    ({"name": "x", "metadata": []}, "metadata"),
    ({"name": "x", "session_limit": 1}, "session_limit"),
    ({"name": "x", "public_key": "-----BEGIN X-----"}, "public_key"),
    ({"name": "x", "public_key": {"kty": "oct", "k": "YQ"}}, "public_key"),
    ({"name": "x", "public_key": 1}, "public_key"),
]


@on_one_engine
@pytest.mark.parametrize(("body", "field"), BAD)
def test_what_is_wrong_is_named(root: Admin, body: dict[str, object], field: str) -> None:
    refused = assert_refused(root.call("POST", "/admin/clients", body), 400, "invalid_request")
    assert list(refused["fields"]) == [field]
    assert [client["name"] for client in root.get("/admin/clients")["clients"]] == ["root"]


@on_one_engine
@pytest.mark.parametrize(
    "body",
    [
        {"disabled": 1},
        {"disabled": "true"},
        {"enabled": True},
        {"login_limit": "often"},
        {"login_limit": "0/hour"},
        {"session_limit": 0},
        {"session_limit": "many"},
    ],
)
def test_a_change_that_is_a_slip_changes_nothing(root: Admin, body: dict[str, object]) -> None:
    made = root.make("billing")
    response = root.call("PATCH", f"/admin/clients/{made['user_id']}", body)
    assert list(assert_refused(response, 400, "invalid_request")["fields"]) == list(body)


@on_one_engine
def test_it_takes_json_alone(root: Admin, api: TestClient) -> None:
    headers = {"Authorization": f"Bearer {root.token}"}
    refused = api.post("/admin/clients", data={"name": "x"}, headers=headers)
    assert_refused(refused, 415, "unsupported_media_type")


IDS = ["x", NOBODY, "0" * 19, "%00", "%F0", "root", f"{NOBODY}%0A", "A" * 20]


@pytest.mark.parametrize("client_id", IDS)
def test_an_id_that_is_none_is_not_found(root: Admin, client_id: str) -> None:
    place = f"/admin/clients/{client_id}"
    bodies = {"PATCH": {"name": "y"}}
    for method in ("GET", "PATCH", "DELETE"):
        refused = root.call(method, place, bodies.get(method))
        assert_refused(refused, 404, "not_found")
    assert_refused(root.call("GET", f"{place}/keys"), 404, "not_found")
    for act in ("keys", "keys/rotate"):
        assert_refused(root.call("POST", f"{place}/{act}", {}), 404, "not_found")
    assert_refused(root.call("POST", f"{place}/end-sessions"), 404, "not_found")


@on_one_engine
def test_where_it_is_not_on_its_paths_are_unknown(settings: Settings, clock: Clock) -> None:
    """Whoever calls, and whatever their scopes."""
    with Client(create_app(replace(settings, management="off"), clock)) as api:
        stranger = Admin(api, "", "", forge.token(scope=ROOT_SCOPES))
        for route in managing:
            for method in route.handlers:
                refused = stranger.call(method, route.path)
                assert_refused(refused, 404, "not_found")
        assert "/admin/" not in api.get("/openapi.json").text


@on_one_engine
def test_each_change_is_told_with_who_did_it(root: Admin, trail: Trail) -> None:
    client = root.make("billing", "reports:read")["user_id"]
    root.change(client, name="bills", scopes="", metadata={"a": "b"}, disabled=True)
    root.change(client, disabled=False)
    root.call("POST", f"/admin/clients/{client}/end-sessions")
    root.call("DELETE", f"/admin/clients/{client}")
    told = trail()
    lines = [line for line in told if line.get("client") == client]
    assert [line["event"] for line in lines] == [
        "client_created",
        *("client_renamed", "metadata_set", "scopes_set", "client_disabled"),
        *("client_enabled", "sessions_ended", "client_disabled", "client_deleted"),
    ]
    assert {line["actor"] for line in lines} == {root.id}
    assert root.key not in json.dumps(told)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_where_verifiers_elsewhere_may_be_it_is_answered_when_they_know(
    settings: Settings, clock: Clock, administer: Administer, tmp_path: Path
) -> None:
    """The keys that are published make them possible."""
    file = signing.write(tmp_path / "keys.json", signing.ES256("one").jwk)
    chosen = replace(settings, signing_keys_file=str(file), feed_lease_seconds=1, workers=2)
    root = administer("root")
    with Client(create_app(chosen, clock)) as api:
        elsewhere = replace(root, api=api, token=log_in(api, root.key)["access_token"])
        began = time.monotonic()
        elsewhere.change(root.id, metadata={})
        assert time.monotonic() - began >= 1


def test_notes_of_every_size_that_is_allowed_are_kept(root: Admin) -> None:
    """Each backslash is two in the JSON that is kept."""
    notes = {f"{number:040}": "\\" * MAX_NOTE for number in range(MAX_NOTES)}
    made = root.make("billing", metadata=notes)
    assert root.get(f"/admin/clients/{made['user_id']}")["metadata"] == notes


def test_what_was_so_before_is_not_recorded(root: Admin, trail: Trail) -> None:
    client = root.make("billing", "reports:read", metadata={"a": "b"})["user_id"]
    same = {"name": "billing", "scopes": "reports:read", "metadata": {"a": "b"}}
    trail()
    root.change(client, disabled=False, **same)
    assert trail() == []
    root.change(client, disabled=True)
    root.change(client, disabled=True)
    assert [line["event"] for line in trail()] == ["client_disabled"]


@on_one_engine
@pytest.mark.parametrize(
    "name",
    [
        "0123456789abcdef0123",
        "--yes",
        "-",
        "bill\u3164ing",
        "x\ufe0f",
        "a\u034fb",
        "e\u0301",
        "\u2800",
    ],
)
def test_a_name_that_misleads_is_refused(root: Admin, name: str) -> None:
    """As an id, an option of a command, or what looks like the name of another."""
    response = root.call("POST", "/admin/clients", {"name": name})
    assert list(assert_refused(response, 400, "invalid_request")["fields"]) == ["name"]
    root.make("\u00e9-0123456789abcdef0123")


@on_one_engine
def test_what_would_pass_silently_is_refused_with_its_name(root: Admin) -> None:
    made = root.make("billing")
    place = f"/admin/clients/{made['user_id']}"
    for method, path, body in (
        ("POST", "/admin/clients", {"name": "x"}),
        ("GET", place, None),
        ("GET", f"{place}/keys", None),
        ("GET", f"/admin/keys/{made['key_id']}", None),
        ("PATCH", place, {"name": "x"}),
        ("DELETE", place, None),
        ("POST", f"{place}/end-sessions", None),
        ("POST", f"{place}/keys", {}),
        ("POST", f"{place}/keys/rotate", {}),
        ("DELETE", f"/admin/keys/{made['key_id']}", None),
        ("POST", "/admin/leaks", {"text": made["client_key"]}),
    ):
        refused = root.call(method, f"{path}?dry_run=1", body)
        fields = assert_refused(refused, 400, "invalid_request")["fields"]
        assert list(fields) == ["dry_run"]
    refused = root.call("POST", f"{place}/end-sessions", {"key_id": made["key_id"]})
    assert list(assert_refused(refused, 400, "invalid_request")["fields"]) == ["key_id"]
    assert root.get(place)["name"] == "billing"


@on_one_engine
def test_what_has_no_version_is_as_nobody_has_read_it(root: Admin) -> None:
    """Else a pipeline would think that its `If-Match` had been looked at."""
    made = root.make("billing")
    place = f"/admin/clients/{made['user_id']}"
    tag = root.call("GET", place).headers["etag"]
    for method, path, body in (
        ("POST", "/admin/clients", {"name": "x"}),
        ("POST", f"{place}/end-sessions", None),
        ("POST", f"{place}/keys", {}),
        ("POST", f"{place}/keys/rotate", {}),
        ("DELETE", f"/admin/keys/{made['key_id']}", None),
        ("POST", "/admin/leaks", {"text": made["client_key"]}),
    ):
        refused = root.call(method, path, body, If_Match=tag)
        assert_refused(refused, 412, "precondition_failed")
    (key,) = root.get(f"{place}/keys")["keys"]
    assert (key["expires_at"], key["revoked_at"]) == (None, None)
    assert_answer(root.call("GET", place, If_Match='"another"'), 200)
    assert_answer(root.call("POST", f"{place}/keys", {}, If_Match="*"), 201)


@on_one_engine
def test_a_body_without_a_type_is_told_to_be_json(root: Admin) -> None:
    headers = {"Authorization": f"Bearer {root.token}"}
    refused = root.api.post("/admin/clients", content=b'{"name": "x"}', headers=headers)
    body = assert_refused(refused, 415, "unsupported_media_type")
    assert body["error_description"] == "Send application/json."
