"""The five tables of records, users and keys, owners of stored ids, and boots."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

_ARRIVAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_JSON = sa.Text().with_variant(JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make everything."""
    _interceptions()
    _token_usages()
    _user_prompts()
    _tool_usages()
    _model_thoughts()
    _boots_and_stored_ids()
    _users_and_keys()


def _interceptions() -> None:
    op.create_table(
        "aibridge_interceptions",
        sa.Column("arrival", _ARRIVAL, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("boot_id", sa.Text, nullable=False),
        sa.Column("initiator_id", sa.Text, nullable=False),
        sa.Column("metadata", _JSON, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("provider_name", sa.Text, nullable=False),
        sa.Column("dialect", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("streaming", sa.Boolean, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("client_session_id", sa.Text),
        sa.Column("agent_id", sa.Text),
        sa.Column("parent_agent_id", sa.Text),
        sa.Column("user_agent", sa.Text),
        sa.Column("correlating_tool_call_id", sa.Text),
        sa.Column("credential_kind", sa.Text, nullable=False),
        sa.Column("credential_hint", sa.Text, nullable=False),
        sa.Column("upstream_user", sa.Text),
        sa.Column("ended_at", _TIME),
        sa.Column("state", sa.Text),
        sa.Column("http_status", sa.Integer),
        sa.Column("error_type", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("time_to_first_byte", sa.Float),
        sa.Column("thread_parent_id", sa.Text),
        sa.Column("thread_root_id", sa.Text),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.UniqueConstraint("id", name="aibridge_interceptions_id"),
        sqlite_autoincrement=True,
    )
    _index("interceptions", "open", ["boot_id"], "ended_at IS NULL")
    _index("interceptions", "listed", ["started_at", "arrival"], "ended_at IS NOT NULL")
    _index("interceptions", "initiator", ["initiator_id", "started_at", "arrival"], "ended_at IS NOT NULL")
    _index("interceptions", "session", ["session_id", "started_at"])
    _index(
        "interceptions",
        "waiting",
        ["correlating_tool_call_id", "initiator_id"],
        "correlating_tool_call_id IS NOT NULL AND thread_parent_id IS NULL",
    )
    _index("interceptions", "root", ["thread_root_id"], "thread_root_id IS NOT NULL")


def _token_usages() -> None:
    _of_interception(
        "aibridge_token_usages",
        sa.Column("provider_response_id", sa.Text),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger, nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger, nullable=False),
        sa.Column("extra", _JSON, nullable=False),
        sa.Column("partial", sa.Boolean, nullable=False),
        sa.Column("cost", sa.BigInteger),
    )


def _user_prompts() -> None:
    _of_interception(
        "aibridge_user_prompts",
        sa.Column("provider_response_id", sa.Text),
        sa.Column("prompt", sa.Text, nullable=False),
    )


def _tool_usages() -> None:
    _of_interception(
        "aibridge_tool_usages",
        sa.Column("initiator_id", sa.Text),
        sa.Column("provider_response_id", sa.Text),
        sa.Column("tool_call_id", sa.Text),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("input", _JSON),
        sa.Column("injected", sa.Boolean, nullable=False),
        sa.Column("server_url", sa.Text),
        sa.Column("invocation_error", sa.Text),
    )
    _index("tool_usages", "call", ["initiator_id", "tool_call_id", "created_at"], "tool_call_id IS NOT NULL")


def _model_thoughts() -> None:
    _of_interception(
        "aibridge_model_thoughts",
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
    )


def _boots_and_stored_ids() -> None:
    op.create_table(
        "aibridge_boots",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
    )
    op.create_table(
        "aibridge_stored_ids",
        sa.Column("provider_name", sa.Text, nullable=False),
        sa.Column("stored_id", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("provider_name", "stored_id", name="aibridge_stored_ids_id"),
        sqlite_with_rowid=False,
    )


def _users_and_keys() -> None:
    op.create_table(
        "aibridge_users",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("groups", _JSON, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.UniqueConstraint("username", name="aibridge_users_username"),
    )
    op.create_table(
        "aibridge_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.Column("last_used_at", _TIME),
    )
    _index("keys", "user", ["user_id"])


def _of_interception(name: str, *columns: sa.Column[Any]) -> None:
    op.create_table(
        name,
        sa.Column("arrival", _ARRIVAL, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("interception_id", sa.Text, nullable=False),
        *columns,
        sa.Column("created_at", _TIME, nullable=False),
        sa.UniqueConstraint("interception_id", "id", name=f"{name}_id"),
        sqlite_autoincrement=True,
    )


def _index(table: str, name: str, columns: list[str], where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(
        f"aibridge_{table}_{name}",
        f"aibridge_{table}",
        columns,
        sqlite_where=condition,
        postgresql_where=condition,
    )
