"""Alembic's entry: runs the revisions on the connection that engines/schema.py hands over."""

from alembic import context

from tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
