"""This migration makes the audit log a chain: each new row is a line that names the one before."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit", sa.Column("number", sa.BigInteger()))
    op.add_column("audit", sa.Column("line", sa.Text()))
    op.create_index(op.f("ix_audit_tenant_id_number"), "audit", ["tenant_id", "number"], unique=True)
