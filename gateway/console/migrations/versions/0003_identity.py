"""This migration makes room for identities that change: certificates, join states, standings, and sealed accounts."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ON_GATEWAYS: tuple[sa.Column[Any], ...] = (
    sa.Column("standing", sa.String(length=20), nullable=False, server_default="active"),
    sa.Column("conditions", sa.JSON(none_as_null=True), nullable=False, server_default="[]"),
    sa.Column("next_serial", sa.String(length=48)),
    sa.Column("next_until", sa.DateTime(timezone=True)),
    sa.Column("next_request", sa.LargeBinary(length=32)),
    sa.Column("next_answer", sa.JSON(none_as_null=True)),
    sa.Column("join_number", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("join_key", sa.LargeBinary(length=32)),
    sa.Column("join_key_before", sa.LargeBinary(length=32)),
    sa.Column("join_waived", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("epoch", sa.BigInteger(), nullable=False, server_default="1"),
    sa.Column("system_uuid", sa.Uuid()),
    sa.Column("trust_version", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("sealing_key", sa.JSON(none_as_null=True)),
    sa.Column("sealing_unwanted", sa.String(length=64)),
    sa.Column("recoveries_forgiven_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    for column in ON_GATEWAYS:
        op.add_column("gateways", column)
    op.add_column("registration_tokens", sa.Column("repairs", sa.Uuid()))
    op.add_column("registration_tokens", sa.Column("confirm", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "spent_certificates",
        sa.Column("gateway_id", sa.Uuid(), nullable=False),
        sa.Column("serial", sa.String(length=48), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("spent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_spent_certificates_tenant_id")),
        sa.PrimaryKeyConstraint("gateway_id", "serial", name=op.f("pk_spent_certificates")),
    )
    op.create_table(
        "recoveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("gateway_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("address", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_recoveries_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recoveries")),
    )
    op.create_index(op.f("ix_recoveries_gateway_id_at"), "recoveries", ["gateway_id", "at"], unique=False)
    op.create_table(
        "sealed_accounts",
        sa.Column("gateway_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateways.id"], name=op.f("fk_sealed_accounts_gateway_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_sealed_accounts_tenant_id")),
        sa.PrimaryKeyConstraint("gateway_id", "name", name=op.f("pk_sealed_accounts")),
    )
