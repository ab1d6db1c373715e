"""One reading of DATABASE_URL for all that asks: the pool, the kept connection, and migrations."""

import asyncio
import datetime
from pathlib import Path

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from authapi.engines import schema, urls
from authapi.engines.database import Database
from authapi.store import health
from tables import SCHEMA_REVISION
from tests.postgres import Postgres, database_of
from tests.tls import TLSFront


@pytest.mark.parametrize(
    ("url", "is_read_as"),
    [
        ("postgres://u:p@h/db", "postgresql://u:p@h/db"),
        ("postgresql://u:p@h:6/db?sslmode=verify-full&sslrootcert=%2Fca.pem", None),
        ("postgresql://u:a%40%3A%2Fb@h/db", None),
        ("postgresql://u@one:5432,two:5433/db?target_session_attrs=read-write", None),
        ("postgresql://u@[::1]:5432/db", None),
        ("postgresql:///db?host=/run/postgresql&connect_timeout=10", None),
        ("sqlite:///auth.db", None),
        ("sqlite:////var/lib/auth.db", None),
    ],
)
def test_what_is_understood(url: str, is_read_as: str | None) -> None:
    assert str(urls.read(url)) == (is_read_as or url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://u:p@h/db?ssl=true", "in place of `ssl` write sslmode=require"),
        ("postgresql://u:p@h/db?max_size=4", "in place of `max_size` set DATABASE_POOL_SIZE"),
        ("postgresql://u:p@h/db?min_size=9", "leave it out"),
        ("postgresql://u:p@h/db?channel_binding=require", "is not supported"),
        ("postgresql://u:p@h/db?sslmode=on", "sslmode is one of allow, disable,"),
        ("postgresql://u:se@cret@h/db", "percent-encoded"),
        ("postgresql://u:se/cret@h/db", "Must look like"),
        ("postgresql://u:p@h:se/db", "percent-encoded"),
        ("postgresql://h", "Must look like"),
        ("mysql://u:p@h/db", "Must look like"),
        ("sqlite:///a.db?mode=ro", "Must look like"),
        ("sqlite:///:memory:", "Must look like"),
        ("", "Must look like"),
    ],
)
def test_what_is_not_says_what_to_write(url: str, message: str) -> None:
    with pytest.raises(urls.BadURL, match=message) as raised:
        urls.read(url)
    assert "cret" not in str(raised.value)


def test_what_the_driver_would_send_to_the_server_as_a_setting_is_left_out(
    postgres: Postgres,
) -> None:
    """It is for libpq's own tools, which read the same URL."""
    url = postgres.new_database() + "&connect_timeout=10&application_name=other"
    assert asyncio.run(revision(url)) == SCHEMA_REVISION
    assert postgres.run("psql", url, "-Atc", "SELECT version_num FROM alembic_version").strip() == (
        SCHEMA_REVISION
    )


async def revision(url: str) -> str:
    """Asked through each of the three ways to the database."""
    await schema.upgrade(Database(url))
    async with Database(url) as database:
        connection = await database.dedicated_connection()
        assert isinstance(connection, asyncpg.Connection)
        assert connection.is_in_transaction() is False
        await health.try_to_write(database)
        return str(await database.fetch_val("SELECT version_num FROM alembic_version"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `server.crt` and `server.key`, for localhost alone."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "server.crt").write_bytes(signed.public_bytes(pem))
    (folder / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


@pytest.mark.parametrize("mode", ["require", "verify-full", "prefer", "disable"])
def test_tls_is_spoken_as_the_url_says(postgres: Postgres, certificate: Path, mode: str) -> None:
    async def act() -> None:
        async with TLSFront(postgres, certificate) as front:
            url = f"postgres://postgres@localhost:{front.port}/{database}?sslmode={mode}"
            if mode == "verify-full":
                url += f"&sslrootcert={certificate / 'server.crt'}"
            assert await revision(url) == SCHEMA_REVISION
            assert (front.plain == 0) == (mode != "disable")
            assert (front.encrypted == 0) == (mode == "disable")

    database = database_of(postgres.new_database())
    asyncio.run(act())


def test_a_server_whose_certificate_is_not_the_named_one_gets_no_password(
    postgres: Postgres, certificate: Path
) -> None:
    async def act() -> None:
        async with TLSFront(postgres, certificate) as front:
            url = f"postgres://postgres@127.0.0.1:{front.port}/postgres?sslmode=verify-full"
            with pytest.raises(OSError, match="certificate"):
                await Database(f"{url}&sslrootcert={certificate / 'server.crt'}").connect()

    asyncio.run(act())
