"""The served app does what `/openapi.json` says, whatever schemathesis makes of that."""

import asyncio
import copy
import itertools
import json
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import Phase, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks

from app import managing, routes
from authapi.credentials.claims import Claims
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.credentials.tokens import ACCESS, REFRESH, Tokens
from authapi.engines.database import Database
from authapi.openapi.document import build
from authapi.store import clients as registry
from authapi.telemetry.version import VERSION
from tests import forge, signing
from tests.checks import assert_answer, bearer
from tests.conftest import DATABASE_ID, make_database
from tests.fuzz.budget import budget
from tests.fuzz.narrowing import narrowed
from tests.serving import Served, serve

DESCRIPTION = narrowed(build([*routes, *managing], VERSION))
SECRET = "the-secret-of-the-service-that-the-fuzzers-call"
CLIENT, KEY = new_client_id(), new_client_key()
GRANTED = "a b revocations:read keys:self admin:read admin:write"
MANAGED = "0123456789abcdef0123"
"""The id of a client that is changed, and perhaps deleted: `narrowed.json` names it."""
ISSUER = "https://auth.example"
TOKENS = Tokens([SECRET], ISSUER, "auth-api", 900, 604_800, 10)
TOKENS.serve(DATABASE_ID)
MADE_UP = re.compile(r"ck_[0-9a-f]{16}_[0-9A-Za-z]{43}[0-9a-f]{8}")


NUMBERS = itertools.count()


def good_token(typ: str) -> str:
    """As after a login just now, and another one each time: an example that is run again must be
    answered the same, and a token is spent or ended by being used."""
    sid, now = f"drawn{next(NUMBERS):017d}", time.time()
    exp = int(now) + (900 if typ == ACCESS else 604_800)
    claims = Claims(CLIENT, sid, f"{sid}.{typ}", KEY.id, "", now, int(now), exp, DATABASE_ID)
    return TOKENS.issue(typ, claims)


def tokens(typ: str) -> st.SearchStrategy[str]:
    good = st.builds(good_token, st.just(typ))
    return good | st.text() | good.map(lambda token: token[:-1])


# An arbitrary string has the right type, and it opens nothing. So that what happens behind an open
# door is looked at as well, the formats also give what opens it.
schemathesis.openapi.format(
    "client-key", st.just(KEY.text) | st.text() | st.from_regex(MADE_UP, fullmatch=True)
)
schemathesis.openapi.format("client-id", st.just(CLIENT) | st.text(min_size=1))
schemathesis.openapi.format("access-token", tokens(ACCESS))
schemathesis.openapi.format("refresh-token", tokens(REFRESH))


def load(*operations: object, **generation: object) -> Any:
    """No check is switched off. Unknown fields are ignored by design, and so are allowed."""
    config = schemathesis.Config.from_dict(
        {
            "cache": {"enabled": False},
            "generation": generation,
            "checks": CHECKS,
            "operations": operations,
        }
    )
    # A copy, into which links are written: what makes a key names one that can be ended.
    return schemathesis.openapi.from_dict(copy.deepcopy(DESCRIPTION), config=config)


CHECKS = {
    # 503 is the one answer of its kind that may be, but here the database is well.
    "not_a_server_error": {"enabled": True},
    # A string of the right type that is no key or token of ours is 401, and never 400: it is not
    # told what a right one looks like. A drawn body may be too large.
    "positive_data_acceptance": {"enabled": True, "expected-statuses": ["200", "401", "413"]},
    "negative_data_rejection": {
        "enabled": True,
        "expected-statuses": ["400", "401", "403", "405", "413", "415"],
    },
}
GRANT = {
    "include-path": "/oauth/token",
    # A refresh token that does not count is 400 where a client has authenticated.
    "checks": {"positive_data_acceptance": {"expected-statuses": ["200", "400", "401", "413"]}},
}
MANAGING = {
    "include-path-regex": "^/admin/",
    "checks": {
        # What a text may be says more than a type; and a client, a name or a version may be gone.
        "positive_data_acceptance": {
            "expected-statuses": ["200", "201", "400", "403", "404", "409", "412", "413", "422"]
        },
        "negative_data_rejection": {
            "expected-statuses": ["400", "401", "403", "404", "405", "412", "413", "415", "422"]
        },
    },
}
# Arbitrary text is no public key, and a client has twenty keys at most.
ROTATE = {
    "include-path": "/me/keys/rotate",
    "checks": {
        "positive_data_acceptance": {
            "expected-statuses": ["200", "400", "401", "403", "413", "429"]
        }
    },
}
# None of both, or both, is no proof.
SHOW_KEY = {
    "include-path": "/me/keys/revoke",
    "checks": {"positive_data_acceptance": {"expected-statuses": ["200", "400", "413"]}},
}
END_KEY = {
    "include-path": "/me/keys/{key_id}",
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["200", "401", "403", "404"]},
        "negative_data_rejection": {"expected-statuses": ["401", "403", "404", "405"]},
    },
}
CREDENTIALS = ("client_id", "client_secret", "client_assertion")
OWN_KEYS = ("/me/keys", "/me/keys/rotate", "/me/keys/{key_id}")
PROTECTED = ("/me", "/secure-data", "/logout", "/verify", "/revocations", "/admin/", *OWN_KEYS)
CACHED = {
    "/.well-known/jwks.json": 3600,
    "/.well-known/oauth-authorization-server": 3600,
    "/openapi.json": 300,
}


@pytest.fixture(scope="module")
def description() -> Any:
    operations = (GRANT, MANAGING, ROTATE, SHOW_KEY, END_KEY)
    return load(*operations, **{"with-security-parameters": False})


@pytest.fixture(scope="module")
def description_for_strangers() -> Any:
    """Not with an operation of its own, by which `include` would include all."""
    return load(**{"with-security-parameters": True})


# By fixtures, since the cases that are no drawn ones are made at once, for three seconds: and each
# process of a test run finds all tests.
described = schemathesis.pytest.from_fixture("description")
for_strangers = schemathesis.pytest.from_fixture("description_for_strangers")


@contextmanager
def serving(folder: Path, **environ: str) -> Iterator[Served]:
    """With a client that is fuzzed, and another one that it manages."""
    url = f"sqlite:///{folder}/auth.db"

    async def prepare() -> None:
        await make_database(url)
        async with Database(url) as database:
            now = int(time.time())
            assert await registry.create_client(database, CLIENT, "fuzzed", KEY, now, GRANTED)
            other = new_client_key()
            assert await registry.create_client(database, MANAGED, "managed", other, now)

    asyncio.run(prepare())
    environ = {
        "SECRET_KEY": SECRET,
        "TOKEN_ISSUER": ISSUER,
        "MANAGEMENT": "on",
        "LOGIN_FAILURES_BY_ADDRESS": "1000000/second",
        "LOGIN_FAILURES_TOGETHER": "1000000/second",
        "LOG_LEVEL": "debug",
    } | environ
    with serve(folder, **environ) as served:
        yield served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("fuzzed")
    keys = signing.write(folder / "keys.json", signing.ES256().jwk)
    with serving(folder, SIGNING_KEYS_FILE=str(keys)) as served:
        yield served


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Without a verifier elsewhere, for which each change and each shown key would wait."""
    folder = tmp_path_factory.mktemp("managed")
    with serving(folder, REVOCATION_POLL_SECONDS="0.01") as served:
        yield served


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


ISSUED: set[str] = set()


def log_in(served: Served, session: requests.Session) -> dict[str, str]:
    response = session.post(f"{served.url}/login", json={"client_key": KEY.text}, timeout=10)
    pair: dict[str, str] = assert_answer(response, 200)
    ISSUED.update({pair["access_token"], pair["refresh_token"]})
    return pair


def has_token(case: Any) -> bool:
    return isinstance(case.body, dict) and case.body.get("access_token") is not None


def shows_nothing(case: Any) -> bool:
    """A client that may authenticate in the header, since its body has no credentials."""
    if not case.path.startswith("/oauth/") or not isinstance(case.body, dict):
        return False
    return not any(case.body.get(name) for name in CREDENTIALS)


def basic() -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{CLIENT}:{KEY.text}'.encode()).decode()}"}


def is_of_one_shape(ctx: Any, response: Any, case: Any) -> None:
    """Every answer, also of the methods and media types that the description does not know."""
    headers = {name.lower(): ", ".join(values) for name, values in response.headers.items()}
    assert headers["content-type"] == "application/json"
    seconds = CACHED.get(case.path) if response.status_code == 200 else None
    assert headers["cache-control"] == (f"public, max-age={seconds}" if seconds else "no-store")
    assert headers["x-content-type-options"] == "nosniff"
    assert ("www-authenticate" in headers) == (response.status_code in (401, 403))
    assert ("allow" in headers) == (response.status_code == 405)
    assert response.status_code < 500
    if response.status_code not in (200, 201) and response.request.method != "HEAD":
        body = json.loads(response.content)
        assert set(body) - {"fields"} == {"error", "error_description"}


def call(
    case: Any, served: Served, session: requests.Session, headers: dict[str, str] | None
) -> Any:
    """Send the case and let every check look at the answer."""
    return case.call_and_validate(
        base_url=served.url,
        session=session,
        headers=headers,
        additional_checks=[is_of_one_shape],
        timeout=10,
    )


@described.parametrize()
@budget(10, longer=200)
def test_a_client_is_answered_as_described(
    case: Any, served: Served, managed: Served, session: requests.Session
) -> None:
    headers = None
    served = managed if case.path.startswith(("/admin/", "/me/keys/revoke")) else served
    # RFC 6750, 2: a token in the header and in the body would be two ways at once, which is 400.
    if case.path.startswith(PROTECTED) and not has_token(case):
        headers = bearer(log_in(served, session)["access_token"])
    elif shows_nothing(case):
        headers = basic()
    response = call(case, served, session, headers)
    if case.path in ("/me", "/secure-data") and case.method == "GET":
        assert response.status_code == 200


@for_strangers.include(path=sorted(set(PROTECTED) - {"/logout"})).parametrize()
@budget(10, longer=200)
def test_a_stranger_is_answered_as_described(
    case: Any, served: Served, session: requests.Session
) -> None:
    """With an Authorization header of any kind, or none; `ignored_auth` sees to it."""
    assert call(case, served, session, None).status_code != 200


# A protected route is reached by links with the token of the login before, so what is checked
# here besides is what `use_after_free` would check of a DELETE: after a log-out nothing opens.
@pytest.fixture
def machine(description: Any, served: Served, session: requests.Session) -> type:
    # Without keys, of which a client makes twenty: the same step would be answered differently.
    base: Any = description.exclude(path=list(OWN_KEYS)).as_state_machine()

    class Flow(base):  # type: ignore[misc]
        """Follows the links from answer to answer, and knows which sessions are ended."""

        def setup(self) -> None:
            self.pair = log_in(served, session)
            self.ended: set[str] = set()

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            kwargs = {"base_url": served.url, "session": session, "timeout": 10}
            if case.path.startswith(PROTECTED) and not has_token(case):
                kwargs["headers"] = bearer(self.pair["access_token"])
            elif shows_nothing(case):
                kwargs["headers"] = basic()
            return kwargs

        def validate_response(self, response: Any, case: Any, **kwargs: Any) -> None:
            super().validate_response(response, case, additional_checks=[is_of_one_shape], **kwargs)
            if response.status_code == 200:
                note(self, case, json.loads(response.content))

    return Flow


def note(flow: Any, case: Any, answer: dict[str, Any]) -> None:
    """What was issued and what was ended; and what opens is of no session that was."""
    used = flow.pair["access_token"]
    if case.path in ("/login", "/refresh-token"):
        flow.pair = answer
        ISSUED.update({answer["access_token"], answer["refresh_token"]})
        assert sid(answer["access_token"]) not in flow.ended
    elif case.path in ("/me", "/secure-data", "/verify"):
        assert sid(used) not in flow.ended, "an ended session opens a route"
    elif case.path == "/oauth/introspect" and answer["active"]:
        assert sid(case.body["token"]) not in flow.ended, "an ended session is active"
    elif case.path == "/oauth/revoke" and case.body["token"] in ISSUED:
        flow.ended.add(sid(case.body["token"]))
    elif case.path == "/logout":
        flow.ended.add(sid(case.body["access_token"] if has_token(case) else used))


def sid(token: str) -> str:
    return str(forge.claims_of(token)["sid"])


def test_what_an_answer_links_to_is_answered_as_described(machine: Any) -> None:
    """Not shrunk, since each step is a request: a fault would take minutes to be told."""
    phases = [Phase.explicit, Phase.generate]
    machine.run(settings=settings(budget(50), stateful_step_count=10, phases=phases))


def test_of_all_this_the_console_holds_no_traceback_and_no_secret(
    served: Served, managed: Served
) -> None:
    """The last test over the served app."""
    assert served.process.poll() is managed.process.poll() is None
    console = served.console + managed.console
    assert "Traceback" not in console
    assert '"level":"error"' not in console
    for secret in (SECRET, KEY.text, KEY.digest, *ISSUED):
        assert secret not in console
        assert secret[-20:] not in console


# The description itself


def test_it_is_the_one_that_is_served(served: Served, session: requests.Session) -> None:
    found = session.get(f"{served.url}/openapi.json", timeout=10).json()
    assert narrowed(found) == json.loads(json.dumps(DESCRIPTION))


def test_no_check_is_switched_off(description: Any, description_for_strangers: Any) -> None:
    load_all_checks()
    for schema in (description, description_for_strangers):
        for name in schemathesis.checks.CHECKS.get_all_names():
            assert schema.config.checks.get_by_name(name=name).enabled, name
