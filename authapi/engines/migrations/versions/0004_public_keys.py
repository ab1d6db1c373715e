"""The public keys of clients that sign assertions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("client_keys", sa.Column("public_key", sa.String(2000)))
