"""The image of deploy/container is built, and runs as its own user on a root that is read-only."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.checks import bearer
from tests.conftest import SECRET
from tests.deploy.image import LENT, Image, built, why_not
from tests.pages.running import key_in
from tests.postgres import Postgres
from tests.serving import ROOT, free_port, is_ready

START_SECONDS = 30
MANAGE = ("python", "/srv/auth-api/manage.py")
USER = 10001
pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with TemporaryDirectory(prefix="image-") as folder, built(Path(folder)) as image:
        yield image


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume, of the user's."""
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, USER, USER)
    return folder


def wait_until_ready(url: str, console: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while not is_ready(url):
        assert time.monotonic() < give_up, console.read_text()
        time.sleep(0.05)


def test_it_runs_on_a_volume_alone(image: Image, data: Path, tmp_path: Path) -> None:
    port, console = free_port(), tmp_path / "console.txt"
    environ = {"SECRET_KEY": SECRET, "HOST": "127.0.0.1", "PORT": str(port)}
    migrated = image.run(data, *MANAGE, "migrate", environ=environ)
    assert migrated.returncode == 0, migrated.stderr
    key = key_in(image.run(data, *MANAGE, "create-client", "billing", environ=environ).stdout)
    kind, *check = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    assert image.run(data, *check, environ=environ).returncode == 1
    url = f"http://127.0.0.1:{port}"
    with image.running(data, console, environ=environ) as process:
        wait_until_ready(url, console)
        assert httpx.post(f"{url}/login", json={"client_key": key}).status_code == 200
        healthy = image.run(data, *check, environ=environ)
        assert healthy.returncode == 0, healthy.stderr
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}\n" in status
    for name in ("auth.db", "auth.db-wal"):
        path = data / name
        assert not path.exists() or (path.stat().st_uid, path.stat().st_mode & 0o77) == (USER, 0)


@pytest.mark.parametrize("place", ["/", "/srv/auth-api", "/srv/auth-api/authapi", "/etc"])
def test_it_can_write_nothing_else(image: Image, data: Path, place: str) -> None:
    refused = image.run(data, "python", "-c", f"open('{place}/new', 'w')")
    assert "Read-only file system" in refused.stderr


def test_two_nodes_on_a_postgresql_answer_as_one(
    image: Image, data: Path, tmp_path: Path, postgres: Postgres
) -> None:
    """As compose.yaml has them: what is to migrate ends first."""
    url = postgres.new_database().replace(str(postgres.socket_folder), LENT)
    environ = {"SECRET_KEY": SECRET, "HOST": "127.0.0.1", "DATABASE_URL": url}
    lent = postgres.socket_folder / ".s.PGSQL.5432"
    ports = [free_port(), free_port()]
    one, other = (f"http://127.0.0.1:{port}" for port in ports)
    early = image.run(data, lent=lent, environ=environ | {"PORT": str(ports[0])})
    assert early.returncode == 2, early.stdout + early.stderr
    assert image.run(data, *MANAGE, "migrate", lent=lent, environ=environ).returncode == 0
    created = image.run(data, *MANAGE, "create-client", "billing", lent=lent, environ=environ)
    consoles = [tmp_path / f"{port}.txt" for port in ports]
    with (
        image.running(data, consoles[0], lent, environ=environ | {"PORT": str(ports[0])}),
        image.running(data, consoles[1], lent, environ=environ | {"PORT": str(ports[1])}),
    ):
        for node, console in zip((one, other), consoles, strict=True):
            wait_until_ready(node, console)
        pair = httpx.post(f"{one}/login", json={"client_key": key_in(created.stdout)}).json()
        token = bearer(pair["access_token"])
        assert httpx.get(f"{other}/me", headers=token).status_code == 200
        assert httpx.post(f"{one}/logout", headers=token).status_code == 200
        assert httpx.get(f"{other}/me", headers=token).status_code == 401
    assert not list(data.iterdir())


def test_nothing_but_the_service_is_in_it(image: Image) -> None:
    names = {path.name for path in (image.root / "srv/auth-api").iterdir()}
    code = {path.name for path in ROOT.glob("*.py")}
    assert names - {"__pycache__"} == code | {"authapi", "requirements.txt", ".venv"}
    assert (image.root / "srv/auth-api/authapi/html/templates/style.css").is_file()


def test_an_engine_is_told_how_to_run_it(image: Image) -> None:
    assert image.config["User"] == f"{USER}:{USER}"
    assert image.config["StopSignal"] == "SIGTERM"
    assert image.config["Cmd"] == ["python", "/srv/auth-api/app.py"]
    assert not image.config.get("Entrypoint")
    assert set(image.config["Volumes"]) == {image.config["WorkingDir"]}
    folder = image.root / image.config["WorkingDir"].lstrip("/")
    assert folder.stat().st_uid == USER  # as a new volume has it then
