"""What is noted of clients, their order for who pages, and answers that are kept for a repeat."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    noted = sa.Column("metadata", sa.Text, nullable=False, server_default="{}")
    op.add_column("clients", noted)
    op.create_index("ix_clients_created_at_id", "clients", ["created_at", "id"])
    op.create_table(
        "kept_answers",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    )
