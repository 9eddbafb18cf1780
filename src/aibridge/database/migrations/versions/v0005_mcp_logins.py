"""Logins of people at MCP servers, sealed: tokens, registrations, and logins that were begun."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Adds a table; nothing that is there changes."""
    op.create_table(
        "aibridge_mcp_logins",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("kept_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.UniqueConstraint("kind", "owner", "server", name="aibridge_mcp_logins_of"),
    )
