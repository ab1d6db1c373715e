"""The identity of the database; until when a row ends access tokens, and which session asked."""

import secrets
import time

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # A dump of an earlier revision that is restored leaves the table of what it replaces.
    op.execute("DROP TABLE IF EXISTS identity")
    one_row = sa.CheckConstraint("singleton = 1")
    times = ("created_at", "access_purged_until", "refresh_purged_until", "issued_until")
    identity = op.create_table(
        "identity",
        sa.Column("singleton", sa.SmallInteger, one_row, primary_key=True),
        sa.Column("database_id", sa.String(16), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in times),
    )
    row = dict.fromkeys(times, 0) | {"singleton": 1, "created_at": int(time.time())}
    op.bulk_insert(identity, [row | {"database_id": secrets.token_hex(8)}])
    op.add_column("revoked_jtis", sa.Column("access_expires_at", sa.BigInteger))
    op.add_column("revoked_jtis", sa.Column("ended_by", sa.String(32)))
    # Tokens of before name no database, so none counts any more.
    op.execute("UPDATE revoked_jtis SET access_expires_at = 0 WHERE commit_order IS NOT NULL")
    op.drop_index("ix_revoked_jtis_revoked_at", "revoked_jtis")
    kept_in_copies = sa.text("commit_order IS NOT NULL")
    op.create_index(
        "ix_revoked_jtis_access_expires_at",
        "revoked_jtis",
        ["access_expires_at"],
        sqlite_where=kept_in_copies,
        postgresql_where=kept_in_copies,
    )
