"""A command says of a client what the API says, changes what it changes, and refuses alike."""

import json
from typing import Any

import pytest

from tests.conftest import Manage
from tests.managing.conftest import Admin, on_one_engine


def typed(manage: Manage, *arguments: str) -> Any:
    return json.loads(manage(*arguments, "--json").stdout)


def test_show_client_shows_what_is_read(root: Admin, manage: Manage) -> None:
    made = typed(
        manage, "create-client", "billing", "--metadata", "team=pay=ments", "--metadata", "b="
    )
    read = root.get(f"/admin/clients/{made['user_id']}")
    assert read["metadata"] == {"team": "pay=ments", "b": ""}
    assert typed(manage, "show-client", "billing") == read
    said = manage("show-client", made["user_id"]).stdout.splitlines()
    assert {"name: billing", "state: enabled", "scopes: none", "disabled: never"} < {*said}
    assert said[-2:] == ["metadata team: pay=ments", "metadata b: "]


def test_rename_client_and_set_metadata_change_what_patch_does(root: Admin, manage: Manage) -> None:
    place = f"/admin/clients/{root.make('billing', 'reports:read')['user_id']}"
    assert typed(manage, "rename-client", "billing", "bills") == root.get(place) | {
        "was": "billing"
    }
    noted = typed(manage, "set-metadata", "bills", "team=payments", "owner=x")
    assert noted == root.get(place)
    assert noted["metadata"] == {"team": "payments", "owner": "x"}
    emptied = manage("set-metadata", "bills", "")
    assert emptied.stdout == "bills: metadata {}\n"
    assert json.loads(emptied.stderr)["event"] == "metadata_set"
    assert root.get(place)["metadata"] == {}


@pytest.mark.parametrize(
    ("typed_so", "besides"),
    [
        (["set-scopes", "billing", ""], {"was": "reports:read", "sessions_ended": True}),
        (["set-limits", "billing", "--sessions", "3"], {}),
        (["disable-client", "billing"], {"disabled": True}),
        (["enable-client", "billing"], {"disabled": False}),
    ],
)
def test_each_change_answers_the_client_as_patch_does(
    root: Admin, manage: Manage, typed_so: list[str], besides: dict[str, object]
) -> None:
    made = root.make("billing", "reports:read")
    agreed = [] if typed_so[0] in ("set-limits", "enable-client") else ["--yes"]
    answered = typed(manage, *typed_so, *agreed)
    assert answered == root.get(f"/admin/clients/{made['user_id']}") | besides


@pytest.mark.parametrize(
    ("options", "query"),
    [
        (["--name", "billing"], "name=billing"),
        (["--name", "nobody"], "name=nobody"),
        (["--scope", "reports:read"], "scope=reports:read"),
        (["--scope", "reports:read", "--disabled"], "scope=reports:read&disabled=true"),
        (["--enabled"], "disabled=false"),
        ([], ""),
    ],
)
def test_list_clients_filters_as_the_list_does(
    root: Admin, manage: Manage, options: list[str], query: str
) -> None:
    for name, scopes in (("billing", "reports:read"), ("closed", "reports:read"), ("other", "")):
        root.make(name, scopes)
    manage("disable-client", "closed", "--yes")
    listed = root.get(f"/admin/clients?{query}")["clients"]
    assert typed(manage, "list-clients", *options) == listed
    says_none = manage("list-clients", *options).stdout == "There is no such client.\n"
    assert says_none == (not listed)


@on_one_engine
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rename-client", "billing", "root"], "There is a client 'root' already"),
        (["rename-client", "billing", " x"], "A name has 1 to 100 printable characters"),
        (["rename-client", "nobody", "x"], "There is no client 'nobody'"),
        (["set-metadata", "billing", "team"], "'team' is no NAME=TEXT"),
        (["set-metadata", "billing", "a=1", "a=2"], "'a=2' is no NAME=TEXT"),
        (["set-metadata", "billing", "=x"], "Up to 20 printable texts"),
        (["set-metadata", "billing", f"a={'x' * 201}"], "Up to 20 printable texts"),
        (["create-client", "new", "--metadata", "a=\n"], "Up to 20 printable texts"),
        (["list-clients", "--scope", "a b"], "'a b' is not one scope."),
        (["list-clients", "--name", "-"], "A name has 1 to 100 printable characters"),
        (["show-client", "nobody"], "There is no client 'nobody'"),
    ],
)
def test_what_is_refused_is_one_line(
    root: Admin, manage: Manage, arguments: list[str], says: str
) -> None:
    root.make("billing")
    before = root.get("/admin/clients")
    refused = manage(*arguments, status=2)
    assert refused.stdout == ""
    assert refused.stderr.startswith(f"Error: {says}")
    assert refused.stderr.count("\n") == 1
    assert root.get("/admin/clients") == before
