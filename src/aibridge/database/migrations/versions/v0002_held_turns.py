"""Held turns, the anchors by which they are found, and the ids that stored responses really have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Adds three tables; nothing that is there changes."""
    op.create_table(
        "aibridge_held_turns",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("actor_id", sa.Text, nullable=False),
        sa.Column("provider_name", sa.Text, nullable=False),
        sa.Column("dialect", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=False),
    )
    op.create_index("aibridge_held_turns_actor", "aibridge_held_turns", ["actor_id", "used_at"])
    op.create_index("aibridge_held_turns_used", "aibridge_held_turns", ["used_at"])
    anchored = ("actor_id", "provider_name", "dialect", "anchor", "held_id")
    op.create_table(
        "aibridge_held_anchors",
        *(sa.Column(name, sa.Text, nullable=False) for name in anchored),
        sa.PrimaryKeyConstraint(*anchored, name="aibridge_held_anchors_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("aibridge_held_anchors_held", "aibridge_held_anchors", ["held_id"])
    op.create_table(
        "aibridge_last_response_ids",
        sa.Column("actor_id", sa.Text, nullable=False),
        sa.Column("provider_name", sa.Text, nullable=False),
        sa.Column("first_id", sa.Text, nullable=False),
        sa.Column("last_id", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("actor_id", "provider_name", "first_id", name="aibridge_last_response_ids_id"),
        sqlite_with_rowid=False,
    )
