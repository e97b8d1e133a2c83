"""This migration makes room for the plans that commands tell before they begin."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("commands", sa.Column("plan", sa.JSON(none_as_null=True)))
