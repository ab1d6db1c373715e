"""The feed is as the page says that a verifier of one's own may rely on."""

import json
import re
from pathlib import Path

from starlette.testclient import TestClient

from authapi.errors import UnknownCursor
from authapi.openapi.paths import OURS
from authapi.revocation import cursors
from authapi.revocation.entries import MARGIN_SECONDS
from authapi.revocation.feed import PAGE
from settings import load_settings
from tests import forge
from tests.checks import assert_answer, bearer
from tests.pages.reading import blocks, section, tables
from tests.pages.running import call, log_in, run
from tests.serving import serve


def test_its_members_and_parameters_are_those_of_the_page(api: TestClient) -> None:
    parameters, members, answers = tables("The feed")
    headers = bearer(forge.token(scope="revocations:read"))
    told = assert_answer(api.get("/revocations", headers=headers), 200)
    (shown,) = map(json.loads, blocks("The feed", "json"))
    assert list(told) == list(shown) == list(members)
    assert set(parameters) == set(OURS["/revocations"].query)
    assert {row.split("`")[1] for row in answers if "`" in row} == {UnknownCursor.error}


def test_its_example_is_one(api: TestClient) -> None:
    (shown,) = map(json.loads, blocks("The feed", "json"))
    cursor = cursors.read(shown["cursor"])
    assert all(kid.endswith(f".{cursor.database_id}") for kid in shown["keys"])
    settings = load_settings({})
    assert shown["lease"] == settings.feed_lease_seconds
    keep = settings.access_token_seconds + settings.leeway_seconds + MARGIN_SECONDS
    assert shown["keep"] == keep


def test_what_is_to_be_typed_is_answered(api: TestClient) -> None:
    (typed,) = blocks("The feed", "sh")
    headers = re.findall(r"""-H (['"])([\w-]+): .*?\1""", typed)
    assert [name for _, name in headers] == ["Authorization", "X-Request-ID"]
    assert typed.strip().endswith(":8000/revocations")


def test_so_many_entries_are_in_a_page() -> None:
    assert f"in answers of {PAGE:,} entries" in " ".join(section("The feed").split())


def test_nobody_is_logged_out_where_keys_are_published_as_shown(clone: Path) -> None:
    """From development mode, as the page says; and no other user may read the secret."""
    (script,) = blocks("Let a service follow the feed", "sh")
    with serve(clone, code=clone) as served:
        key = served.demo_key
        before = log_in(served, key)
    run(clone, script)
    assert (clone / ".env").stat().st_mode & 0o777 == 0o600
    with serve(clone, code=clone) as served:
        assert call(served, "/me", before["access_token"]).status_code == 200
        published = call(served, "/.well-known/jwks.json").json()["keys"]
        after = log_in(served, key)["access_token"]
        assert forge.header_of(after)["kid"] in {key["kid"] for key in published}
