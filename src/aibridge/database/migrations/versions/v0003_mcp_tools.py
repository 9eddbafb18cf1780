"""The definitions that tools of MCP servers were first seen with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Adds a table; nothing that is there changes."""
    op.create_table(
        "aibridge_mcp_tools",
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("accepted", sa.Text, nullable=False),
        sa.Column("seen", sa.Text, nullable=False),
        sa.Column("first_seen_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("server", "tool", name="aibridge_mcp_tools_id"),
        sqlite_with_rowid=False,
    )
