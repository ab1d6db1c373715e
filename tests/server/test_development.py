"""A newcomer needs no secret; whoever runs it for real chooses one."""

import asyncio
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from authapi.engines.database import Database
from authapi.server.development import register_demo_client, welcome, with_secret
from settings import Settings, SettingsError, load_settings


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    first, second = (with_secret(load_settings({}), path) for _ in range(2))
    assert first.secret_key == second.secret_key == path.read_text()
    assert len(first.secret_key) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_newline_that_an_editor_adds_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    made = with_secret(load_settings({}), path).secret_key
    path.write_text(f"{made}\n")
    assert with_secret(load_settings({}), path).secret_key == made


def test_no_two_secrets_are_alike(tmp_path: Path) -> None:
    one, other = (with_secret(load_settings({}), tmp_path / name) for name in "ab")
    assert one.secret_key != other.secret_key


def test_an_operators_secret_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    assert with_secret(settings, tmp_path / "secret") is settings
    assert not (tmp_path / "secret").exists()


def test_a_file_without_a_secret_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch()
    with pytest.raises(SettingsError, match=str(path)):
        with_secret(load_settings({}), path)


def test_a_secret_that_cannot_be_read_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        with_secret(load_settings({}), tmp_path)


def test_of_two_that_start_at_once_both_have_the_same_secret(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / f"secret-{number}"
        with ThreadPoolExecutor(4) as starts:
            found = list(
                starts.map(lambda _, path=path: with_secret(load_settings({}), path), "abcd")
            )
        assert {settings.secret_key for settings in found} == {path.read_text()}
    assert len(list(tmp_path.iterdir())) == 20


def test_the_demo_client_is_registered_on_the_first_start_alone(settings: Settings) -> None:
    async def register() -> str | None:
        async with Database(settings.database_url) as database:
            return await register_demo_client(database)

    assert (asyncio.run(register()) or "").startswith("ck_")
    assert asyncio.run(register()) is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ],
)
def test_the_welcome_names_the_key_and_where_to_log_in(host: str, url: str) -> None:
    text = welcome("ck_1_2", host, 8000)
    assert f"    curl -w '\\n' -d client_key=ck_1_2 {url}/login\n" in text
    assert text.splitlines()[-1] == f"It serves on {url}. Press Ctrl-C to stop."
