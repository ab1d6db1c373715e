"""The tables. Times are epoch seconds; importing this module does no I/O."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

SCHEMA_REVISION = "0006"
"""The newest revision in `authapi/engines/migrations/`, which makes these tables."""

metadata = MetaData()

identity = Table(
    # One row. `database_id` is random, and part of the `kid` of every token: those of another
    # database open nothing. `access_purged_until` and `refresh_purged_until` are the latest `exp`
    # of an access token or assertion, and of a refresh token, that a purged row may have ended: up
    # to there it is refused, whatever the clocks say. No token was issued later than
    # `issued_until`.
    "identity",
    metadata,
    Column("singleton", SmallInteger, CheckConstraint("singleton = 1"), primary_key=True),
    Column("database_id", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("access_purged_until", BigInteger, nullable=False),
    Column("refresh_purged_until", BigInteger, nullable=False),
    Column("issued_until", BigInteger, nullable=False),
)

clients = Table(
    # `login_limit` looks like `600/minute`, in place of LOGINS_BY_CLIENT; so many sessions as
    # `session_limit` may live at once, or any number if it is null. `metadata` is what an operator
    # notes of the client: a JSON object of texts.
    "clients",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("scopes", String(1000), nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Index("ix_clients_created_at_id", "created_at", "id"),
    Column("login_limit", String(40)),
    Column("session_limit", BigInteger),
)

client_keys = Table(
    # A secret of which we keep a digest; or the public half of a key that the client signs with:
    # then `public_key` is a JWK, and `digest` its thumbprint (RFC 7638), which no text hashes to.
    # `made_by` is the key by which the client logged in to make this one itself.
    "client_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("client_id", String(32), ForeignKey("clients.id"), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    # Both are behind by up to a minute: see rules/client_key_uses.py.
    Column("last_used_at", BigInteger),
    Column("uses", BigInteger, nullable=False, server_default=text("0")),
    Column("public_key", String(2000)),
    Column("made_by", String(32)),
)

revoked_jtis = Table(
    # `jti` is whatever id the row ends: one token's (a spent refresh token, or a spent assertion of
    # a client), a session's `sid`, or a client's, which ends every session that began in an era
    # before `revoked_at`.
    # `revoked_at` has a fraction, since order matters; past `expires_at` the row ends nothing, and
    # past `access_expires_at` no access token, and no assertion is spent again. That is empty for a
    # spent refresh token, and `commit_order` for whatever is spent, which no access token is judged
    # by. `ended_by` is the session that ended all of its client's.
    "revoked_jtis",
    metadata,
    Column("jti", String(32), primary_key=True),
    Column("reason", String(40), nullable=False),
    Column("revoked_at", Double, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("commit_order", BigInteger),
    Column("access_expires_at", BigInteger),
    Column("ended_by", String(32)),
    Index("ix_revoked_jtis_expires_at", "expires_at"),
)
for name in ("commit_order", "access_expires_at"):
    column = revoked_jtis.c[name]
    in_copies = revoked_jtis.c.commit_order.is_not(None)
    Index(f"ix_revoked_jtis_{name}", column, sqlite_where=in_copies, postgresql_where=in_copies)

kept_answers = Table(
    # For a repeat of a request with an `Idempotency-Key`: `digest` is that of the key and of who
    # sent it, `request` that of what was asked, and `sealed` the answer, encrypted, since it may
    # hold a client key.
    "kept_answers",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("request", String(64), nullable=False),
    Column("sealed", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

counted_sessions = Table(
    # The sessions of clients with a `session_limit`, which alone are written as they begin. What
    # has ended is found as for a token, and deleted when its client logs in next.
    "counted_sessions",
    metadata,
    Column("sid", String(32), primary_key=True),
    Column(
        "client_id",
        String(32),
        ForeignKey("clients.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("key_id", String(32), nullable=False),
    Column("era", Double, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
