"""The tables, the same in SQLite and PostgreSQL. What is here and what the migrations make is the same (a test says so).

Not imported to serve requests: the writer thread speaks plain SQL. `arrival` counts rows in the order of their
commit; it is the order of tails and exports, since ids and times are only as ordered as the clocks that made them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcTime(TypeDecorator[datetime]):
    """A moment. SQLite keeps it as text of one width (`2026-11-20 22:43:01.123456`, UTC), so text order is time order."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy calls it so
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonText(TypeDecorator[Any]):
    """JSON: `jsonb` in PostgreSQL, text in SQLite (a column of type JSON would turn the text `1.0` into a number)."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(JSONB(none_as_null=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: object, dialect: Dialect) -> object:
        return value if value is None or dialect.name == "postgresql" else msgspec.json.encode(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "postgresql" else msgspec.json.decode(value)


metadata = MetaData()
# An alias of SQLite's rowid, which must be declared INTEGER.
_ARRIVAL = BigInteger().with_variant(Integer, "sqlite")
_COUNT = BigInteger()


def _part_of(column: str, condition: str) -> dict[str, Any]:
    """Names and makes an index of only the rows that meet a condition."""
    where = text(f"{column} {condition}")
    return {"sqlite_where": where, "postgresql_where": where}


interceptions = Table(
    "aibridge_interceptions",
    metadata,
    Column("arrival", _ARRIVAL, primary_key=True),
    Column("id", Text, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("initiator_id", Text, nullable=False),
    Column("metadata", JsonText, nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("provider_name", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("streaming", Boolean, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("client", Text, nullable=False),
    Column("client_session_id", Text),
    Column("agent_id", Text),
    Column("parent_agent_id", Text),
    Column("user_agent", Text),
    Column("correlating_tool_call_id", Text),
    Column("credential_kind", Text, nullable=False),
    Column("credential_hint", Text, nullable=False),
    Column("upstream_user", Text),
    Column("ended_at", UtcTime),
    Column("state", Text),
    Column("http_status", Integer),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("time_to_first_byte", Float),
    Column("served_by", Text),
    Column("thread_parent_id", Text),
    Column("thread_root_id", Text),
    Column("session_id", Text, nullable=False),
    UniqueConstraint("id", name="aibridge_interceptions_id"),
    sqlite_autoincrement=True,
)
# Recovery, and the list of what is in flight.
Index("aibridge_interceptions_open", interceptions.c.boot_id, **_part_of("ended_at", "IS NULL"))
# The lists, newest first; counting them reads nothing but the index.
Index(
    "aibridge_interceptions_listed",
    interceptions.c.started_at,
    interceptions.c.arrival,
    **_part_of("ended_at", "IS NOT NULL"),
)
Index(
    "aibridge_interceptions_initiator",
    interceptions.c.initiator_id,
    interceptions.c.started_at,
    interceptions.c.arrival,
    **_part_of("ended_at", "IS NOT NULL"),
)
Index("aibridge_interceptions_session", interceptions.c.session_id, interceptions.c.started_at)
# Lineage: whose parent may still arrive, and who follows when a root finds its own parent.
Index(
    "aibridge_interceptions_waiting",
    interceptions.c.correlating_tool_call_id,
    interceptions.c.initiator_id,
    **_part_of("correlating_tool_call_id", "IS NOT NULL AND thread_parent_id IS NULL"),
)
Index("aibridge_interceptions_root", interceptions.c.thread_root_id, **_part_of("thread_root_id", "IS NOT NULL"))


def _of_interception(name: str, *columns: Column[Any]) -> Table:
    """A table of facts about interceptions. A record's id is unique within its interception, which is how they are read."""
    return Table(
        name,
        metadata,
        Column("arrival", _ARRIVAL, primary_key=True),
        Column("id", Text, nullable=False),
        Column("interception_id", Text, nullable=False),
        *columns,
        Column("created_at", UtcTime, nullable=False),
        UniqueConstraint("interception_id", "id", name=f"{name}_id"),
        sqlite_autoincrement=True,
    )


token_usages = _of_interception(
    "aibridge_token_usages",
    Column("provider_response_id", Text),
    Column("input_tokens", _COUNT, nullable=False),
    Column("output_tokens", _COUNT, nullable=False),
    Column("cache_read_tokens", _COUNT, nullable=False),
    Column("cache_write_tokens", _COUNT, nullable=False),
    Column("extra", JsonText, nullable=False),
    Column("partial", Boolean, nullable=False),
    Column("model", Text),  # that answered; NULL: not said, or recorded before revision 0004
    Column("cost", _COUNT),  # micro-dollars; NULL: nobody knows the price
)
user_prompts = _of_interception(
    "aibridge_user_prompts",
    Column("provider_response_id", Text),
    Column("prompt", Text, nullable=False),
)
tool_usages = _of_interception(
    "aibridge_tool_usages",
    Column("initiator_id", Text),
    Column("provider_response_id", Text),
    Column("tool_call_id", Text),
    Column("tool", Text, nullable=False),
    Column("input", JsonText),
    Column("injected", Boolean, nullable=False),
    Column("server_url", Text),
    Column("invocation_error", Text),
)
# Ids like `call_0` repeat for ever: the latest call before a moment is found without reading the others.
Index(
    "aibridge_tool_usages_call",
    tool_usages.c.initiator_id,
    tool_usages.c.tool_call_id,
    tool_usages.c.created_at,
    **_part_of("tool_call_id", "IS NOT NULL"),
)
model_thoughts = _of_interception(
    "aibridge_model_thoughts",
    Column("content", Text, nullable=False),
    Column("source", Text, nullable=False),
)

# One row per start of a process; the process holds the lock of its boot while it lives.
boots = Table(
    "aibridge_boots",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
)

# Whose the things are that a provider stores under our one central key.
stored_ids = Table(
    "aibridge_stored_ids",
    metadata,
    Column("provider_name", Text, nullable=False),
    Column("stored_id", Text, nullable=False),
    Column("actor_id", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    PrimaryKeyConstraint("provider_name", "stored_id", name="aibridge_stored_ids_id"),
    sqlite_with_rowid=False,
)

# What clients did not see of their replies, encrypted, and by what it is found again. One row a reply.
held_turns = Table(
    "aibridge_held_turns",
    metadata,
    Column("id", Text, primary_key=True),
    Column("actor_id", Text, nullable=False),
    Column("provider_name", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("used_at", UtcTime, nullable=False),
)
Index("aibridge_held_turns_actor", held_turns.c.actor_id, held_turns.c.used_at)
Index("aibridge_held_turns_used", held_turns.c.used_at)
held_anchors = Table(
    "aibridge_held_anchors",
    metadata,
    Column("actor_id", Text, nullable=False),
    Column("provider_name", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("anchor", Text, nullable=False),
    Column("held_id", Text, nullable=False),
    PrimaryKeyConstraint("actor_id", "provider_name", "dialect", "anchor", "held_id", name="aibridge_held_anchors_id"),
    sqlite_with_rowid=False,
)
Index("aibridge_held_anchors_held", held_anchors.c.held_id)
# Under which id a provider keeps what a client knows by the id of its first turn.
last_response_ids = Table(
    "aibridge_last_response_ids",
    metadata,
    Column("actor_id", Text, nullable=False),
    Column("provider_name", Text, nullable=False),
    Column("first_id", Text, nullable=False),
    Column("last_id", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    PrimaryKeyConstraint("actor_id", "provider_name", "first_id", name="aibridge_last_response_ids_id"),
    sqlite_with_rowid=False,
)

# What tools of MCP servers looked like when they were first seen, or accepted since, and the last time.
mcp_tools = Table(
    "aibridge_mcp_tools",
    metadata,
    Column("server", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("accepted", Text, nullable=False),
    Column("seen", Text, nullable=False),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    PrimaryKeyConstraint("server", "tool", name="aibridge_mcp_tools_id"),
    sqlite_with_rowid=False,
)

# Logins of people at MCP servers: sealed tokens (`login`, whose owner is an actor), registrations (`client`, a redirect
# URI), and logins that were begun (`attempt`, the hash of a state).
mcp_logins = Table(
    "aibridge_mcp_logins",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("kept_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    UniqueConstraint("kind", "owner", "server", name="aibridge_mcp_logins_of"),
)

users = Table(
    "aibridge_users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("username", Text, nullable=False),
    Column("email", Text),
    Column("groups", JsonText, nullable=False),
    Column("role", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    # Of those whom an identity provider knows: who they are there, and of when what it said of them is.
    Column("issuer", Text),
    Column("subject", Text),
    Column("claimed_at", UtcTime),
    UniqueConstraint("username", name="aibridge_users_username"),
)
Index("aibridge_users_identity", users.c.issuer, users.c.subject, unique=True)
keys = Table(
    "aibridge_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("scopes", JsonText, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
    Column("last_used_at", UtcTime),
)
Index("aibridge_keys_user", keys.c.user_id)

# By what a secret is known again that things here were made with; it does not tell the secret.
fingerprints = Table(
    "aibridge_fingerprints",
    metadata,
    Column("secret", Text, primary_key=True),  # its name
    Column("fingerprint", LargeBinary, nullable=False),
)
