"""Which secret a database was made with; none is known until the next start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "aibridge_fingerprints",
        sa.Column("secret", sa.Text, primary_key=True, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    )
