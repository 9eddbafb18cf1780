"""Users whom an identity provider knows: who they are there, and of when what it said of them is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Adds columns, empty for all who are there, and the one way to find somebody by them."""
    op.add_column("aibridge_users", sa.Column("issuer", sa.Text))
    op.add_column("aibridge_users", sa.Column("subject", sa.Text))
    op.add_column("aibridge_users", sa.Column("claimed_at", sa.DateTime(timezone=True)))
    op.create_index("aibridge_users_identity", "aibridge_users", ["issuer", "subject"], unique=True)
