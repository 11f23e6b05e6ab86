"""Alembic's entry point: run by `ratchet migrate` with a connection of our own engine."""

from alembic import context

import models.endpoint
import models.inbox
import models.integration
import models.organisation
import models.outbox
import models.payout  # noqa: F401 (each import registers its tables)
from models.database import engine, metadata

with engine().connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
