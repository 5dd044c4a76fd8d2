"""Alembic's entry: take the connection that the program hands over, or open the configured one."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from apps.core import settings
from apps.core.storage import flag_tables, migrate


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=flag_tables.metadata,
        render_as_batch=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_as_script() -> None:
    """Print the statements instead of running them (`alembic upgrade head --sql`)."""
    url = settings.load().database_url
    context.configure(url=url, target_metadata=flag_tables.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_as_script()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    migrate.locked(settings.load().database_url, run)
