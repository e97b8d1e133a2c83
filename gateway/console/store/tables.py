"""This file is the console's tables; the migrations make exactly these, and a test compares them.

Every table but `tenants` carries the tenant, and the scope guard (`scope.py`) refuses a statement that does
not name it. Nothing here is particular to one database.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
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
    Column("certificate_serial", String(48), nullable=False),
    Column("certificate_until", Instant, nullable=False),
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
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("used_at", Instant),
    Column("used_by", Text),
    Column("result", DOCUMENT),
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
    Index(None, "tenant_id", "at", "id"),
)
