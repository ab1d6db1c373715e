"""How often a client key was used."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    uses = sa.Column("uses", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    op.add_column("client_keys", uses)
