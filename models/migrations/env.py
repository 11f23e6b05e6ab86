"""Alembic's entry point: run by `ratchet migrate` with a connection of our own engine."""

from alembic import context

import models.schema  # noqa: F401 (it imports every table)
from models.database import engine, metadata

with engine().connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
