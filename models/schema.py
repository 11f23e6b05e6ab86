"""Bring the database to the code's schema, and tell whether it is there."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

import models.api_key
import models.audit
import models.balance
import models.endpoint
import models.inbox
import models.integration
import models.internal_request
import models.notice
import models.organisation
import models.outbox
import models.payout
import models.portal
import models.price
import models.quote
import models.recovery
import models.remembered
import models.switch  # noqa: F401 (each import registers its tables)
from models.database import engine

_MIGRATING: Final = 4_837_102
"""Advisory lock key: two processes that start together migrate once."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def migrate() -> None:
    """Run every migration that is missing. Safe to run twice at once; docs/runbook.md tells what to stop before."""
    with engine().connect() as connection:
        connection.execute(text("SET LOCAL lock_timeout = 0"))  # another one's migration may take its time
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATING})
        try:
            command.upgrade(_config(), "head")
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATING})
            connection.commit()


def wanted() -> str | None:
    """Return the revision that this code needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def how_to_meet() -> str:
    """Return what to do where database and code are of two versions, as the end of a sentence."""
    found = present()
    steps = ScriptDirectory.from_config(_config()).walk_revisions()
    is_known = found is None or any(step.revision == found for step in steps)
    return "run `ratchet migrate`" if is_known else f"it is at {found}, which is newer; run the newer code"


def present() -> str | None:
    """Return the revision that the database is at, or None when it was never migrated."""
    with engine().connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()
