"""This migration makes room for the halt that a gateway has told of: that it takes nothing new until somebody looks."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("gateways", sa.Column("halt", sa.Uuid()))
