"""The environment is read once, and all of its faults are told together."""

from dataclasses import asdict
from pathlib import Path

import pytest

from settings import SettingsError, load_settings, misspelt

SECRET = "s" * 32
DEFAULTS = {
    "secret_key": "",
    "secret_key_fallbacks": (),
    "signing_keys_file": "",
    "jwks_max_age_seconds": 3600,
    "database_url": "sqlite:///auth.db",
    "database_pool_size": 8,
    "host": "127.0.0.1",
    "port": 8000,
    "workers": 1,
    "access_token_seconds": 900,
    "refresh_token_seconds": 604_800,
    "refresh_grace_seconds": 10,
    "leeway_seconds": 10,
    "token_issuer": "auth-api",
    "token_audience": "auth-api",
    "login_failures_by_address": "30/minute",
    "login_failures_together": "3000/minute",
    "logins_by_client": "6000/minute",
    "rate_limit_storage": "memory://",
    "trusted_proxies": "",
    "routes": "",
    "management": "off",
    "metrics_host": "127.0.0.1",
    "metrics_port": 0,
    "revocation_poll_seconds": 0.1,
    "revocation_max_age_seconds": 0.5,
    "feed_lease_seconds": 1.5,
    "feed_max_held": 2000,
    "log_level": "info",
}


def test_without_an_environment_the_defaults_hold() -> None:
    settings = load_settings({})
    assert asdict(settings) == DEFAULTS
    assert settings.is_development


def test_every_setting_is_read_under_its_name_in_capitals() -> None:
    chosen = {
        "secret_key": SECRET,
        "secret_key_fallbacks": f"{'a' * 32}, {'b' * 32},",
        "signing_keys_file": "/etc/auth/keys.json",
        "jwks_max_age_seconds": "60",
        "database_url": "sqlite:////var/lib/auth.db",
        "database_pool_size": "4",
        "host": "::1",
        "port": "9000",
        "workers": "4",
        "access_token_seconds": "60",
        "refresh_token_seconds": "3600",
        "refresh_grace_seconds": "0.5",
        "leeway_seconds": "0",
        "token_issuer": "https://login.example",
        "token_audience": "https://api.example",
        "login_failures_by_address": "5/hour",
        "login_failures_together": "100/second",
        "logins_by_client": "50/second",
        "rate_limit_storage": "valkey://127.0.0.1:6379",
        "trusted_proxies": "10.0.0.1,10.0.0.2",
        "routes": "my_api.reports:routes",
        "management": "on",
        "metrics_host": "0.0.0.0",
        "metrics_port": "9100",
        "revocation_poll_seconds": "0.2",
        "revocation_max_age_seconds": "2",
        "feed_lease_seconds": "6",
        "feed_max_held": "100",
        "log_level": "debug",
    }
    settings = load_settings({name.upper(): value for name, value in chosen.items()})
    assert asdict(settings) == chosen | {
        "secret_key_fallbacks": ("a" * 32, "b" * 32),
        "jwks_max_age_seconds": 60,
        "database_pool_size": 4,
        "port": 9000,
        "metrics_port": 9100,
        "workers": 4,
        "access_token_seconds": 60,
        "refresh_token_seconds": 3600,
        "refresh_grace_seconds": 0.5,
        "leeway_seconds": 0,
        "revocation_poll_seconds": 0.2,
        "revocation_max_age_seconds": 2,
        "feed_lease_seconds": 6,
        "feed_max_held": 100,
    }
    assert not settings.is_development


def test_an_empty_value_counts_as_unset() -> None:
    assert asdict(load_settings(dict.fromkeys(map(str.upper, DEFAULTS), ""))) == DEFAULTS


def test_the_environment_overrules_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(f"SECRET_KEY={SECRET}\nPORT=9000\nHOST='::1'\nWORKERS\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "9001")
    for name in ("SECRET_KEY", "HOST", "WORKERS"):
        monkeypatch.delenv(name, raising=False)
    settings = load_settings()
    assert (settings.secret_key, settings.port, settings.host) == (SECRET, 9001, "::1")


FAULTS = {
    "SECRET_KEY": "short-secret",
    "SECRET_KEY_FALLBACKS": f"{SECRET},shorter-secret",
    "DATABASE_URL": "mysql://user:password@host/db",
    "PORT": "eighty",
    "WORKERS": "0",
    "ACCESS_TOKEN_SECONDS": "-1",
    "REFRESH_TOKEN_SECONDS": "1.5",
    "REFRESH_GRACE_SECONDS": "nan",
    "JWKS_MAX_AGE_SECONDS": "0",
    "LEEWAY_SECONDS": "301",
    "FEED_LEASE_SECONDS": "0.5",
    "FEED_MAX_HELD": "0",
    "LOG_LEVEL": "loud",
    "LOGIN_FAILURES_BY_ADDRESS": "often",
    "LOGINS_BY_CLIENT": "seldom",
    "RATE_LIMIT_STORAGE": "nowhere://127.0.0.1",
    "ROUTES": "my_routes",
}


def test_all_faults_are_told_at_once_and_no_value_is_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(FAULTS)
    message = str(caught.value)
    assert [line.split(":")[0].strip() for line in message.splitlines()[1:]] == sorted(FAULTS)
    assert not [value for value in FAULTS.values() if len(value) > 3 and value in message]


def test_where_keys_are_published_the_lease_of_the_feed_bears_a_late_reading() -> None:
    chosen = {"SIGNING_KEYS_FILE": "/etc/auth/keys.json", "REVOCATION_MAX_AGE_SECONDS": "0.6"}
    with pytest.raises(SettingsError, match="FEED_LEASE_SECONDS: Must be at least three times"):
        load_settings(chosen)
    assert load_settings(chosen | {"FEED_LEASE_SECONDS": "1.8"}).feed_lease_seconds == 1.8
    del chosen["SIGNING_KEYS_FILE"]
    assert load_settings(chosen).feed_lease_seconds == 1.5


def test_an_empty_value_in_the_environment_does_not_hide_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(f"SECRET_KEY={SECRET}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET_KEY", "")
    assert load_settings().secret_key == SECRET


def test_a_file_that_is_no_text_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_bytes(b"SECRET_KEY=\xff")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        load_settings()


@pytest.mark.parametrize("name", ["SECRET_KEY", "HOST", "TOKEN_ISSUER", "TOKEN_AUDIENCE"])
@pytest.mark.parametrize("end", ["\udcff", "\n", "\0"])
def test_text_that_cannot_be_printed_is_a_fault(name: str, end: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({name: SECRET + end})


@pytest.mark.parametrize(
    "uri",
    [
        "x",
        "redis://127.0.0.1:6379",
        "valkey://127.0.0.1",
        "valkey://127.0.0.1:x",
        "valkey://127.0.0.1:99999",
        "valkey://[::1",
        "memcached://127.0.0.1:11211",
    ],
)
def test_a_storage_that_cannot_be_had_is_a_fault(uri: str) -> None:
    with pytest.raises(SettingsError, match=r"RATE_LIMIT_STORAGE: Must look like memory://"):
        load_settings({"RATE_LIMIT_STORAGE": uri})


NO_DATABASES = [
    "x",
    "auth.db",
    "sqlite://",
    "sqlite:///",
    "sqlite:///:memory:",
    "sqlite:///a.db?mode=ro",
    "sqlite://[::1",
    "postgresql://host",
]


@pytest.mark.parametrize("url", NO_DATABASES)
def test_a_url_that_names_no_database_is_a_fault(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        load_settings({"SECRET_KEY": SECRET, "DATABASE_URL": url})


def test_a_postgresql_is_named_by_its_url() -> None:
    for url in (
        "postgresql://u:p@host:5432/db?sslmode=require",
        "postgres://u:p@host/db",
        "postgresql:///db?host=/run",
    ):
        settings = load_settings({"SECRET_KEY": SECRET, "DATABASE_URL": url})
        assert settings.database_url == url


@pytest.mark.parametrize("shared", [{"WORKERS": "2"}, {"DATABASE_URL": "sqlite:///other.db"}])
def test_what_is_shared_needs_a_secret_of_the_operators(shared: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"SECRET_KEY: Needed .*`openssl rand -hex 32`"):
        load_settings(shared)
    load_settings({"SECRET_KEY": SECRET} | shared)
    assert not load_settings({"SIGNING_KEYS_FILE": "keys.json"} | shared).is_development


@pytest.mark.parametrize("secret", [f"{SECRET},more", f" {SECRET}", f"{SECRET}\t", f"{SECRET} "])
def test_a_secret_that_could_never_become_a_fallback_is_a_fault(secret: str) -> None:
    """Everybody would be logged out in silence, on the day that it is moved there."""
    with pytest.raises(SettingsError, match="SECRET_KEY: ") as raised:
        load_settings({"SECRET_KEY": secret})
    assert SECRET not in str(raised.value)
    spaced = SECRET.replace("-", " ")
    assert load_settings({"SECRET_KEY": spaced}).secret_key == spaced
    assert load_settings({"SECRET_KEY_FALLBACKS": spaced}).secret_key_fallbacks == (spaced,)


def test_what_looks_like_a_setting_and_is_none_is_found_with_the_nearest() -> None:
    environ = {"WORKRES": "4", "workers": "4", "SECRET_KEY": "x", "PATH": "/bin", "HOSTNAME": "a"}
    assert misspelt(environ) == {"WORKRES": "WORKERS", "workers": "WORKERS"}


@pytest.mark.parametrize(
    ("name", "value"), [("TRUSTED_PROXIES", "localhost"), ("HOST", "127.0.0.1:9000")]
)
def test_what_is_no_address_is_a_fault(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: Takes "):
        load_settings({name: value})
