"""Which keys clients have made themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("client_keys", sa.Column("made_by", sa.String(32)))
