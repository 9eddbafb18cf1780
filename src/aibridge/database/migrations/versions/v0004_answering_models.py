"""The model that answered, beside what the answer used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds a column; of what was recorded before, nobody knows it. SQLite touches no row for that."""
    op.add_column("aibridge_token_usages", sa.Column("model", sa.Text))
