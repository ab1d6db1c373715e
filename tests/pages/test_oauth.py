"""Standard clients are served as the page shows, and an API learns of a token by asking."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from authapi.credentials.assertions import ASSERTION_ALGORITHMS, MAX_JTI_LENGTH, MAX_SECONDS
from authapi.web.metadata import TOKEN_PATH
from tests.pages.answers import assert_as_shown
from tests.pages.reading import blocks, section, table
from tests.pages.running import SECRET, call, log_in, run
from tests.serving import ROOT, serve

PAGE = ROOT / "docs" / "oauth.md"
ISSUER = {"TOKEN_ISSUER": "https://auth.example"}
DEMO = "http://127.0.0.1:8000"
STEPS = (
    "Get a token",
    "Refresh, revoke and introspect",
    "Discovery",
    "Use a private key instead of a secret",
)


def scripts() -> list[str]:
    return [block for title in STEPS for block in blocks(title, "sh")]


def test_each_line_with_curl_is_among_those_that_are_run() -> None:
    shown = re.findall(r"^.*curl .*$", PAGE.read_text(), re.MULTILINE)
    assert len(shown) >= 8
    assert shown == re.findall(r"^.*curl .*$", "".join(scripts()), re.MULTILINE)


def test_the_commands_of_the_page_are_answered_as_shown(clone: Path) -> None:
    (set_issuer,) = blocks("Set the issuer", "ini")
    environ = SECRET | dict([set_issuer.strip().split("=", 1)])
    assert environ == SECRET | ISSUER
    (code,) = blocks("Use a private key instead of a secret", "python")
    assert code.startswith("# assertion.py\n")
    (clone / "assertion.py").write_text(code)
    run(clone, ".venv/bin/python manage.py migrate", **environ)
    (document,) = blocks("Discovery", "json")
    script = "".join(scripts())
    with serve(clone, code=clone, **environ) as served:
        printed = run(clone, script.replace(DEMO, served.url), **environ).splitlines()
        found = [line for line in printed if line.startswith('{"issuer"')]
        assert [json.loads(line) for line in found] == [json.loads(document)]
        assert_as_shown(script, [line for line in printed if line not in found])
        assert "spent assertion" in served.console


@pytest.mark.parametrize("options", ["RSA -pkeyopt rsa_keygen_bits:3072", "ed25519"])
def test_the_other_keys_of_the_page_can_be_registered(clone: Path, options: str) -> None:
    text = section("Use a private key instead of a secret")
    assert f"`-algorithm {options}`" in text
    make, publish, _ = blocks("Use a private key instead of a secret", "sh")[0].splitlines()
    make = re.sub(r"-algorithm .+ -out (\S+).*", rf"-algorithm {options} -out \1", make)
    manage = ".venv/bin/python manage.py"
    (command,) = re.findall(r"`(add-public-key \S+ \S+)`", text)
    commands = f"{manage} migrate\n{manage} create-client CLIENT\n{manage} {command}"
    printed = run(clone, f"{make}\n{publish}\n{commands}\n{manage} list-keys CLIENT", **SECRET)
    assert re.search("RS256" if "RSA" in options else "Ed25519", printed)


def test_the_rules_for_an_assertion_are_those_of_the_code() -> None:
    text = section("Use a private key instead of a secret")
    fields = table("Use a private key instead of a secret")
    (named,) = fields["alg`, in the header"]
    assert re.findall(r"`(\w+)`", named) == ASSERTION_ALGORITHMS
    assert f"1 to {MAX_JTI_LENGTH} characters" in fields["jti"][0]
    assert f"counts for {MAX_SECONDS // 60} minutes after" in text


# By asking


def test_introspection_is_answered_as_shown(clone: Path) -> None:
    (script,) = blocks("Ask about a token", "sh")
    with serve(clone, code=clone) as served:
        typed = script.replace(DEMO, served.url).replace("ck_...", served.demo_key)
        assert_as_shown(script, run(clone, typed).splitlines())


def test_the_code_of_the_page_asks(clone: Path) -> None:
    (code,) = blocks("Introspect in Python", "python")
    manage = ".venv/bin/python manage.py"
    with serve(clone, code=clone) as served:
        run(clone, f"{manage} set-scopes demo a b --yes")
        api = json.loads(run(clone, f"{manage} create-client api --json"))
        names: dict[str, Any] = {}
        code = code.replace(DEMO, served.url).replace("API_ID", api["user_id"])
        exec(code.replace("API_SECRET", api["client_key"]), names)
        verify = names["verify"]
        with names["service"]:
            pair = log_in(served, served.demo_key)
            token = pair["access_token"]
            assert verify(token)["client_id"] == verify(token, "b a")["sub"] == pair["user_id"]
            assert verify(token, "c") is verify(pair["refresh_token"]) is verify("x") is None
            call(served, "/logout", token)
            assert verify(token) is None
            run(clone, f"{manage} disable-client api --yes")
            with pytest.raises(httpx.HTTPStatusError):
                verify(token)


# What is refused


def test_the_errors_of_the_page_are_answered_in_its_order(clone: Path) -> None:
    """Each request is at fault in all that its row and those below it say."""
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", section("OAuth errors"), re.MULTILINE)
    limits = {"LOGIN_FAILURES_BY_ADDRESS": "1/hour", "LOGINS_BY_CLIENT": "1/hour"}
    with serve(clone, code=clone, **limits) as served:
        made = run(clone, ".venv/bin/python manage.py create-client other --json")
        other = json.loads(made)
        busy = (log_in(served, served.demo_key)["user_id"], served.demo_key)
        idle, wrong = (other["user_id"], other["client_key"]), ("nobody", "nothing")
        grant = {"grant_type": "client_credentials", "scope": "none"}
        refresh = {"grant_type": "refresh_token", "refresh_token": "none"}

        def refused(auth: tuple[str, str], **options: Any) -> tuple[str, str]:
            answer = httpx.post(served.url + TOKEN_PATH, auth=auth, **options)
            return str(answer.status_code), answer.json()["error"]

        typed = refused(wrong, content=b"scope=none", headers={"Content-Type": "text/plain"})
        formed = [refused(wrong, data=each) for each in ({"scope": "none"}, {"grant_type": "x"})]
        granted = [
            refused(busy, data=grant),
            refused(idle, data=grant),
            refused(idle, data=refresh),
        ]
        judged = [refused(wrong, data=grant) for _ in range(2)]
    assert rows == [typed, *formed, *reversed(judged), *granted, ("503", "temporarily_unavailable")]
