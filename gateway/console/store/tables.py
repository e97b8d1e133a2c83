"""This file is the console's tables; the migrations make exactly these, and a test compares them.

Every table but `tenants` carries the tenant, and the scope guard (`scope.py`) refuses a statement that does
not name it. Nothing here is particular to one database.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    false,
)

schema = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no time zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, turn the others to UTC."""
        _ = dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware time."""
        _ = dialect
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


NAME = String(40)
DOCUMENT = JSON(none_as_null=True)


def _tenant() -> Column[object]:
    return Column("tenant_id", Uuid, ForeignKey("tenants.id"), nullable=False)


tenants = Table(
    "tenants",
    schema,
    Column("id", Uuid, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    # Position of the last event. Taken with the row locked, so positions become visible in their order and a
    # watcher that resumes after one misses nothing; a database sequence cannot promise that.
    Column("last_position", BigInteger, nullable=False, default=0),
)

projects = Table(
    "projects",
    schema,
    Column("id", Uuid, primary_key=True),
    _tenant(),
    Column("name", NAME, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("tenant_id", "name"),
)

users = Table(
    "users",
    schema,
    Column("id", Uuid, primary_key=True),
    _tenant(),
    Column("name", String(255), nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("tenant_id", "name"),
)

api_keys = Table(
    "api_keys",
    schema,
    Column("id", String(32), primary_key=True),
    _tenant(),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("prefix", String(40), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
)

gateways = Table(
    "gateways",
    schema,
    Column("id", Uuid, primary_key=True),
    _tenant(),
    Column("name", NAME, nullable=False),
    Column("device_key", Text, nullable=False),
    # active, unconfirmed, paused, quarantined or revoked: what the console lets the gateway do.
    Column("standing", String(20), nullable=False, server_default="active"),
    # Conditions of its identity, as they are shown: what is the matter, since when, and what to do.
    Column("conditions", DOCUMENT, nullable=False, server_default="[]"),
    Column("certificate_serial", String(48), nullable=False),
    Column("certificate_until", Instant, nullable=False),
    # Issued and not shown yet; the current one dies when it is. The answer is kept for who lost it.
    Column("next_serial", String(48)),
    Column("next_until", Instant),
    Column("next_request", LargeBinary(32)),
    Column("next_answer", DOCUMENT),
    # The join state: its number, the key that proves it, and the key before, for an answer that was lost.
    Column("join_number", BigInteger, nullable=False, server_default="0"),
    Column("join_key", LargeBinary(32)),
    Column("join_key_before", LargeBinary(32)),
    # Set when a person has said that whoever has the device key is the right one: the next join proof is not asked for.
    Column("join_waived", Boolean, nullable=False, server_default=false()),
    Column("epoch", BigInteger, nullable=False, server_default="1"),
    Column("system_uuid", Uuid),
    Column("trust_version", Integer, nullable=False, server_default="0"),
    Column("sealing_key", DOCUMENT),
    # The halt of its lane that it has told of last, until it says that there is none.
    Column("halt", Uuid),
    # The id of the sealing key that a person wishes to be replaced; over when the gateway has another.
    Column("sealing_unwanted", String(64)),
    # Recoveries from before do not count against the budget.
    Column("recoveries_forgiven_at", Instant),
    Column("paired_at", Instant, nullable=False),
    Column("connected_since", Instant),
    Column("last_seen_at", Instant),
    Column("software", String(100)),
    Column("protocol", Integer),
    Column("boot_id", Uuid),
    Column("accounts", DOCUMENT, nullable=False, default=list),
    # None until the appliance has said what it offers.
    Column("targets", DOCUMENT),
    Column("problem", DOCUMENT),
    Column("acknowledged", BigInteger, nullable=False, default=0),
    Column("last_seq", BigInteger, nullable=False, default=0),
    UniqueConstraint("tenant_id", "name"),
)

registration_tokens = Table(
    "registration_tokens",
    schema,
    Column("id", String(20), primary_key=True),
    _tenant(),
    Column("gateway_name", NAME, nullable=False),
    Column("public_key", LargeBinary(32), nullable=False),
    Column("author", String(255), nullable=False),
    # Set for a token that pairs a gateway anew which is there already.
    Column("repairs", Uuid),
    # Whether a person has to compare fingerprints before the gateway may do anything.
    Column("confirm", Boolean, nullable=False, server_default=false()),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("used_at", Instant),
    Column("used_by", Text),
    Column("result", DOCUMENT),
)

spent_certificates = Table(
    "spent_certificates",
    schema,
    # No foreign key: that a certificate was replaced is remembered longer than the gateway.
    Column("gateway_id", Uuid, primary_key=True),
    Column("serial", String(48), primary_key=True),
    _tenant(),
    Column("spent_at", Instant, nullable=False),
    Column("until", Instant, nullable=False),
)

recoveries = Table(
    "recoveries",
    schema,
    Column("id", Uuid, primary_key=True),
    _tenant(),
    Column("gateway_id", Uuid, nullable=False),
    Column("at", Instant, nullable=False),
    Column("address", String(255), nullable=False),
    Index(None, "gateway_id", "at"),
)

sealed_accounts = Table(
    "sealed_accounts",
    schema,
    Column("gateway_id", Uuid, ForeignKey("gateways.id"), primary_key=True),
    Column("name", NAME, primary_key=True),
    _tenant(),
    Column("kind", String(20), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("key_id", String(64), nullable=False),
    # Sealed to the gateway's key: nothing here, and nothing in a copy of it, opens it.
    Column("sealed", Text, nullable=False),
    Column("author", String(255), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

site_policies = Table(
    "site_policies",
    schema,
    Column("gateway_id", Uuid, ForeignKey("gateways.id"), primary_key=True),
    _tenant(),
    # What the gateway says of it: hash and profile, never the policy.
    Column("standing", DOCUMENT),
    Column("proposal", Text),
    Column("proposed_by", String(255)),
    Column("proposed_at", Instant),
    Column("tightening", DOCUMENT),
    Column("tightened_by", String(255)),
)

clusters = Table(
    "clusters",
    schema,
    Column("id", Uuid, primary_key=True),
    _tenant(),
    Column("project_id", Uuid, ForeignKey("projects.id"), nullable=False),
    Column("gateway_id", Uuid, ForeignKey("gateways.id"), nullable=False, index=True),
    Column("name", NAME, nullable=False),
    Column("spec", DOCUMENT, nullable=False),
    Column("phase", String(20), nullable=False),
    # What the last command that changed anything has left behind; a refused wish falls back to it.
    Column("settled_spec", DOCUMENT),
    Column("settled_phase", String(20)),
    Column("problem", DOCUMENT),
    Column("last_command_id", Uuid),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("project_id", "name"),
)

machines = Table(
    "machines",
    schema,
    Column("cluster_id", Uuid, ForeignKey("clusters.id"), primary_key=True),
    Column("instance_uuid", Uuid, primary_key=True),
    _tenant(),
    Column("project_id", Uuid, ForeignKey("projects.id"), nullable=False),
    Column("name", String(80), nullable=False),
    Column("report", DOCUMENT, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Index(None, "tenant_id", "project_id", "cluster_id"),
)

commands = Table(
    "commands",
    schema,
    Column("id", Uuid, primary_key=True),
    _tenant(),
    Column("project_id", Uuid, ForeignKey("projects.id")),
    # No foreign key: history outlives the gateway and the cluster it speaks of.
    Column("gateway_id", Uuid, nullable=False),
    Column("gateway_name", NAME, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("cluster_id", Uuid, index=True),
    Column("cluster_name", NAME),
    Column("resource", String(255), nullable=False),
    Column("kind", String(60), nullable=False),
    Column("body", DOCUMENT, nullable=False),
    Column("author", String(255), nullable=False),
    Column("state", String(20), nullable=False),
    Column("problem", DOCUMENT),
    Column("inventory", DOCUMENT),
    Column("plan", DOCUMENT),
    Column("created_at", Instant, nullable=False),
    # Written before the first delivery: a command without it has certainly reached nobody.
    Column("sent_at", Instant),
    Column("accepted_at", Instant),
    Column("began_at", Instant),
    Column("ended_at", Instant),
    UniqueConstraint("gateway_id", "seq"),
    # What is there to deliver is asked for at each ring of a bell, among all of history.
    Index(None, "gateway_id", "state", "seq"),
)

events = Table(
    "events",
    schema,
    Column("tenant_id", Uuid, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("project_id", Uuid),
    Column("gateway_id", Uuid, nullable=False),
    Column("gateway_name", NAME, nullable=False),
    # The appliance's own number; none when the console itself has something to say about a command.
    Column("number", BigInteger),
    Column("command_id", Uuid, nullable=False, index=True),
    Column("cluster_id", Uuid),
    Column("cluster_name", NAME),
    Column("type", String(40), nullable=False),
    Column("body", DOCUMENT, nullable=False),
    Column("at", Instant, nullable=False),
    UniqueConstraint("gateway_id", "number"),
    Index(None, "tenant_id", "cluster_name", "position"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
)

audit = Table(
    "audit",
    schema,
    Column("id", Uuid, primary_key=True),
    _tenant(),
    Column("at", Instant, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(60), nullable=False),
    # Names, not references: what was done outlives what it was done to, and what was refused may never have been.
    Column("gateway", NAME),
    Column("target", NAME),
    Column("outcome", String(20), nullable=False),
    Column("facts", DOCUMENT, nullable=False),
    # The row as a line of its tenant's chain; none in rows from before there was one.
    Column("number", BigInteger),
    Column("line", Text),
    Index(None, "tenant_id", "at", "id"),
    Index(None, "tenant_id", "number", unique=True),
)
