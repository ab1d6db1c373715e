"""docs/examples/offline: each service is started as its page says, and sees a log-out."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.offline.driving import NODE
from tests.offline.installed import EXAMPLE
from tests.offline.service import ENVIRON, SCOPE, Service, serve_it
from tests.pages.answers import assert_as_shown
from tests.pages.reading import blocks
from tests.pages.running import run
from tests.proxies import answers
from tests.serving import ROOT, clean_environ, end, free_port

PAGE = (ROOT / EXAMPLE / "README.md").read_text()
START_SECONDS = 20
EXAMPLES = ("FastAPI", "Flask", "Django", "Fastify")
SHOWN = {
    "Protect a FastAPI service": ("python", ["fastapi_service.py"]),
    "Protect a Flask or Django service": ("python", ["flask_service.py", "django_service.py"]),
    "Protect a Node service": ("js", ["fastify_service.mjs"]),
}


def commands(title: str) -> list[str]:
    """How the page of the examples says that one is started: installed, told where, and run."""
    (script,) = re.findall(rf"^## {title}\n\n```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines: list[str] = script.splitlines()
    return lines


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve_it(tmp_path_factory.mktemp("examples")) as service:
        yield service


@contextmanager
def protected(title: str, service: Service, bins: list[Path], folder: Path) -> Iterator[str]:
    """The example as its block starts it, but for what was installed before. Returns its URL."""
    _, export, start = commands(title)
    port = free_port()
    assert export == "export AUTH_URL=http://127.0.0.1:8000 VERIFIER_KEY=ck_..."
    environ = {"AUTH_URL": service.url, "VERIFIER_KEY": service.verifier_key}
    process = subprocess.Popen(
        ["bash", "-c", f"exec env {start.replace('9000', str(port))}"],
        cwd=folder,
        env=clean_environ() | environ | {"PATH": ":".join(map(str, [*bins, "/usr/bin", "/bin"]))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until_it_listens(url, process)
        yield url
    finally:
        end(process, seconds=10)


def until_it_listens(url: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_SECONDS
    while not answers(url):
        assert process.poll() is None
        assert time.monotonic() < give_up, "it does not listen"
        time.sleep(0.05)


@pytest.mark.parametrize("title", EXAMPLES)
def test_a_service_is_protected_as_its_page_says(
    title: str, service: Service, python: str, modules: Path
) -> None:
    repository = modules.parents[2]
    folder = repository if title == "Fastify" else ROOT
    with protected(title, service, [Path(python).parent, NODE.parent], folder) as url:
        refused = httpx.get(f"{url}/report")
        assert (refused.status_code, refused.json()) == (401, {"error": "invalid_token"})
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
        (script,) = blocks("See a log-out take hold", "sh")
        script = script.replace("http://127.0.0.1:8000", service.url)
        script = script.replace("http://127.0.0.1:9000", url).replace("ck_...", service.caller_key)
        printed = [line for line in run(ROOT, script).splitlines() if line]
        assert len(assert_as_shown(script, printed)) == 3


def test_the_page_shows_what_the_examples_do() -> None:
    for title, (language, names) in SHOWN.items():
        for shown, name in zip(blocks(title, language), names, strict=True):
            assert shown in (ROOT / EXAMPLE / name).read_text(), name
    (script,) = blocks("Protect a FastAPI service", "sh")
    assert script.splitlines() == commands("FastAPI")


def test_the_page_registers_the_client_of_these_tests() -> None:
    (script,) = blocks("Let a service follow the feed", "sh")
    settings = re.findall(r"^echo (\S+) >> .env$", script, re.MULTILINE)
    assert settings == ["=".join(each) for each in ENVIRON.items()]
    words = re.findall(r"manage.py (.+?)(?:  +#.*)?$", script, re.MULTILINE)
    assert words == ["new-signing-key", f"create-client verifier --scope {SCOPE}"]
