"""Which keys clients have made themselves, and what each client may have at most."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("client_keys", sa.Column("made_by", sa.String(32)))
    op.add_column("clients", sa.Column("login_limit", sa.String(40)))
    op.add_column("clients", sa.Column("session_limit", sa.BigInteger))
    client = sa.ForeignKey("clients.id", ondelete="CASCADE")
    op.create_table(
        "counted_sessions",
        sa.Column("sid", sa.String(32), primary_key=True),
        sa.Column("client_id", sa.String(32), client, nullable=False, index=True),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("era", sa.Double, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
