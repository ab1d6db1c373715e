"""What the page shows of a client that looks after its own keys is typed here."""

import json
import re
from pathlib import Path

from authapi.rules.own_keys import OVERLAP_SECONDS
from authapi.store.own_keys import MAX_KEYS
from tests.pages.reading import blocks, section
from tests.pages.running import call, log_in, run
from tests.serving import ROOT, serve

TITLE = "Let a client rotate its own key"


def test_a_client_rotates_its_own_key_as_shown(clone: Path) -> None:
    grant, rotate, keep = blocks(TITLE, "sh")
    with serve(clone, code=clone) as served:
        old = served.demo_key
        run(clone, grant.replace("billing", "demo"))
        typed = rotate.replace("http://127.0.0.1:8000", served.url).replace("ck_...", old)
        revoked, new = run(clone, f"{typed}echo; echo $NEW_KEY").splitlines()
        assert revoked == '{"message":"Revoked."}'
        assert call(served, "/login", client_key=old).status_code == 401
        file = clone / "billing.key"
        file.write_text(new)
        (clone / "docs").symlink_to(ROOT / "docs")
        install, start = keep.splitlines()
        assert install == ".venv/bin/pip install httpx"  # which is here
        run(clone, start.replace("http://127.0.0.1:8000", served.url))
        assert file.read_text() != new
        for key in (new, file.read_text()):
            log_in(served, key)


def test_the_page_says_how_many_keys_and_for_how_long() -> None:
    assert f"A client has {MAX_KEYS} keys that are open or younger than an hour" in section(TITLE)
    assert OVERLAP_SECONDS == 3600
    lines = (ROOT / "docs" / "examples" / "fresh_key.py").read_text().splitlines()
    (said,) = re.findall(r"script of (\d+) lines", section(TITLE))
    assert len(lines) - 10 < int(said) < len(lines) + 10


def test_a_leaked_key_is_ended_as_shown(clone: Path) -> None:
    script, _ = blocks("End a key that leaked", "sh")
    command, said = script.split("   # ")
    with serve(clone, code=clone) as served:
        typed = command.replace("http://127.0.0.1:8000", served.url)
        shown = run(clone, typed.replace("ck_...", served.demo_key))
        assert shown == said.strip()
        assert call(served, "/login", client_key=served.demo_key).status_code == 401


def test_a_private_key_that_leaked_is_ended_as_shown(clone: Path) -> None:
    how = "Use a private key instead of a secret"
    make, publish, create = blocks(how, "sh")[0].splitlines()
    (clone / "assertion.py").write_text(blocks(how, "python")[0])
    _, script = blocks("End a key that leaked", "sh")
    with serve(clone, code=clone) as served:
        create = create.removeprefix("SIGNER_ID=$(").removesuffix(" | field user_id)")
        signer = json.loads(run(clone, f"{make}\n{publish}\n{create}"))
        typed = script.replace("http://127.0.0.1:8000", served.url)
        names = {"CLIENT_ID": signer["user_id"], "AUDIENCE": "auth-api"}
        assert "opens nothing any more" in run(clone, typed, **names)
        listed = run(clone, ".venv/bin/python manage.py list-keys signer --json")
        assert json.loads(listed)[0]["revoked_at"]
