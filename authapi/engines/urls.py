"""Reads the URL of a database, in libpq's spelling: `pg_dump "$DATABASE_URL"` reads the same."""

from urllib.parse import urlencode, urlsplit

from databases import DatabaseURL

UNDERSTOOD = {
    "host",
    "port",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "sslnegotiation",
    "target_session_attrs",
    "application_name",
    "connect_timeout",
}
"""libpq's options of a PostgreSQL URL that may stand there."""
OURS = {"application_name", "connect_timeout", "target_session_attrs"}
"""Those that we decide ourselves: whatever the URL says is for other tools."""
SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
LOOKS = "Must look like sqlite:///auth.db, or like postgresql://user:password@host/database"


class BadURL(ValueError):
    """Not the URL of a database that can be served from. The message repeats no value of it."""


def read(url: str) -> DatabaseURL:
    """With the scheme `sqlite` or `postgresql`. Raises `BadURL`."""
    # What platforms hand out; both spellings are libpq's.
    if url.startswith("postgres://"):
        url = url.replace("postgres", "postgresql", 1)
    parts = DatabaseURL(url)
    try:
        scheme, is_named = parts.scheme, parts.database not in ("", ":memory:")
        options = set(parts.options)
        _check_hosts(url)
    except (ValueError, KeyError):  # whose texts would quote a password
        raise BadURL(f"{LOOKS}; a password's `@ : / ? # %` are percent-encoded.") from None
    if scheme == "sqlite" and is_named and not options:
        return parts
    if scheme != "postgresql" or not is_named:
        raise BadURL(f"{LOOKS}.")
    if unknown := options - UNDERSTOOD:
        raise BadURL(_why_not(unknown))
    if parts.options.get("sslmode", "prefer") not in SSL_MODES:
        raise BadURL(f"sslmode is one of {', '.join(sorted(SSL_MODES))}.")
    return parts


def _check_hosts(url: str) -> None:
    """Raises `ValueError`. There may be several, of which the primary is taken, as libpq does."""
    user, _, hosts = urlsplit(url).netloc.rpartition("@")
    if "@" in user:
        raise ValueError("an @ that is not percent-encoded")
    for host in hosts.split(","):
        _ = urlsplit(f"//{host}").port


def _why_not(unknown: set[str]) -> str:
    remedies = {
        "ssl": "in place of `ssl` write sslmode=require",
        "min_size": "`min_size` is no option of libpq: leave it out",
        "max_size": "in place of `max_size` set DATABASE_POOL_SIZE",
        "channel_binding": "`channel_binding` is not supported: leave it out",
    }
    known = [remedies[name] for name in sorted(unknown & remedies.keys())]
    others = [f"leave out `{name}`" for name in sorted(unknown - remedies.keys()) if name.isalnum()]
    remedy = "; ".join([*known, *others]) or "some are no option of libpq"
    return f"The URL has options that are not understood: {remedy}."


def dsn(url: DatabaseURL) -> str:
    """What asyncpg reads, which takes whatever it does not know for a setting of the server."""
    kept = {name: value for name, value in url.options.items() if name not in OURS}
    return url.components._replace(query=urlencode(kept)).geturl()
