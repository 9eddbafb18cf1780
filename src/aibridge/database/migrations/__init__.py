"""The steps from an empty database to the present tables, run by alembic. A step that was released is never changed."""
