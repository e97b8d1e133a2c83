"""This migration makes room for what gateways say of their sites' policies, and for what the console wishes of them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "site_policies",
        sa.Column("gateway_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("standing", sa.JSON(none_as_null=True)),
        sa.Column("proposal", sa.Text()),
        sa.Column("proposed_by", sa.String(length=255)),
        sa.Column("proposed_at", sa.DateTime(timezone=True)),
        sa.Column("tightening", sa.JSON(none_as_null=True)),
        sa.Column("tightened_by", sa.String(length=255)),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateways.id"], name=op.f("fk_site_policies_gateway_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_site_policies_tenant_id")),
        sa.PrimaryKeyConstraint("gateway_id", name=op.f("pk_site_policies")),
    )
