"""The provider that served an interception in the place of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds a column, empty for all that was recorded before. SQLite touches no row for that."""
    op.add_column("aibridge_interceptions", sa.Column("served_by", sa.Text))
