"""What alembic runs: the steps, on the connection that `upgrade` put into the configuration. The caller commits."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
