"""From one table with a state to three: nothing that waited is lost on the way, and old receivers stop."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

import settings
from embedded.postgres import Postgres
from embedded.redis import Redis
from models.database import engine

MIGRATE = "from alembic import command; from models import schema; command.upgrade(schema._config(), {!r})"

AS_BEFORE = """
    INSERT INTO inbox_event (integration_id, event_key, body, body_digest, headers, received_at)
    VALUES (1, %s, '', '', '', now())
"""
"""As a receiver from before stores an event."""


@dataclass
class Older:
    """A database that began before the step."""

    url: str

    def migrate(self, revision: str) -> None:
        environment = {**settings.inherited(), "DATABASE_URL": self.url}
        subprocess.run([sys.executable, "-c", MIGRATE.format(revision)], env=environment, check=True)

    def run(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def keys(self, table: str) -> list[str]:
        query = f"SELECT e.event_key FROM inbox_event e JOIN {table} t ON t.event_id = e.id ORDER BY e.id"  # noqa: S608
        return [row[0] for row in self.run(query)]


@pytest.fixture
def older(servers: tuple[Postgres, Redis]) -> Iterator[Older]:
    """Give one that has an event in each state, and has gone the step."""
    older = Older(servers[0].url("older"))
    older.migrate("0008")
    for state in ("new", "applied", "unmatched", "unreadable", "conflict", "poison"):
        older.run(AS_BEFORE, state)
    older.run("UPDATE inbox_event SET state = event_key, detail = 'why', reference = 'gw-1'")
    older.migrate("0009")
    yield older
    with engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("DROP DATABASE older WITH (FORCE)"))


def test_what_was_new_is_new_and_what_was_set_aside_is_set_aside(older: Older) -> None:
    assert older.keys("inbox_new") == ["new"]
    assert older.keys("inbox_set_aside") == ["unmatched", "unreadable", "conflict", "poison"]
    assert older.run("SELECT DISTINCT detail, reference, integration_id FROM inbox_set_aside") == [("why", "gw-1", 1)]


def test_a_receiver_from_before_can_store_nothing_that_nobody_would_apply(older: Older) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn, match="headers"):
        older.run(AS_BEFORE, "late")
