"""A client to which rows of somebody's own tables refer is not deleted, and in words."""

import pytest
from starlette.testclient import TestClient

from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import Do, Manage, Trail
from tests.managing.conftest import Admin, log_in

OWN_TABLE = "CREATE TABLE invoices (client_id VARCHAR(32) REFERENCES clients"


def refer(do: Do, client_id: str, deferred: str = "") -> None:
    do(lambda db: db.fetch_all(f"{OWN_TABLE} {deferred})"))
    do(lambda db: db.fetch_all(f"INSERT INTO invoices VALUES ('{client_id}')"))


def test_it_is_refused_before_anything_is_done(
    root: Admin, api: TestClient, do: Do, trail: Trail, caplog: pytest.LogCaptureFixture
) -> None:
    made = root.make("billing", "reports:read")
    refer(do, made["user_id"])
    place, pair = f"/admin/clients/{made['user_id']}", log_in(api, made["client_key"])
    before, keys = root.get(place), root.get(f"{place}/keys")
    trail()
    assert_refused(root.call("DELETE", place), 409, "still_referenced")
    assert "database_unreachable" not in caplog.text
    assert trail() == []
    assert (root.get(place), root.get(f"{place}/keys")) == (before, keys)
    assert_answer(api.get("/me", headers=bearer(pair["access_token"])), 200)
    do(lambda db: db.fetch_all("DELETE FROM invoices"))
    assert_answer(root.call("DELETE", place), 200)


def test_what_is_found_last_leaves_it_disabled(root: Admin, do: Do, trail: Trail) -> None:
    made = root.make("billing")
    refer(do, made["user_id"], "DEFERRABLE INITIALLY DEFERRED")
    place = f"/admin/clients/{made['user_id']}"
    trail()
    assert_refused(root.call("DELETE", place), 409, "still_referenced")
    assert [line["event"] for line in trail()] == ["client_disabled"]
    assert root.get(place)["disabled_at"] is not None
    assert len(root.get(f"{place}/keys")["keys"]) == 1


def test_rows_that_go_with_it_keep_nobody(root: Admin, do: Do) -> None:
    made = root.make("billing")
    refer(do, made["user_id"], "ON DELETE CASCADE")
    assert_answer(root.call("DELETE", f"/admin/clients/{made['user_id']}"), 200)
    assert do(lambda db: db.fetch_all("SELECT * FROM invoices")) == []


def test_another_fault_is_none_of_a_reference(root: Admin, do: Do) -> None:
    made = root.make("billing")
    do(lambda db: db.fetch_all("DROP TABLE client_keys"))
    refused = root.call("DELETE", f"/admin/clients/{made['user_id']}")
    assert_refused(refused, 503, "temporarily_unavailable")


def test_a_command_says_the_same(root: Admin, do: Do, manage: Manage) -> None:
    made = root.make("billing")
    refer(do, made["user_id"])
    result = manage("delete-client", "billing", "--yes", status=2)
    assert result.stdout == ""
    says = "Error: Rows of other tables refer to the client; remove those first.\n"
    assert result.stderr == says
    assert root.get(f"/admin/clients/{made['user_id']}")["disabled_at"] is None
