import sys
from collections.abc import Iterator
from subprocess import PIPE, STDOUT, Popen

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.event import listen, remove

import settings
from embedded.postgres import Postgres
from embedded.redis import Redis
from models import schema
from models.database import engine, metadata, transaction
from tests.concurrency import at_once, wait_until

MIGRATE = "from models import schema; schema.migrate(); print(schema.present())"


@pytest.fixture
def empty_database(servers: tuple[Postgres, Redis]) -> Iterator[str]:
    """Give the URL of a database that was never migrated."""
    yield servers[0].url("never_migrated")
    with engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("DROP DATABASE never_migrated WITH (FORCE)"))


def _migrating(url: str) -> "Popen[str]":
    environment = {**settings.inherited(), "DATABASE_URL": url}
    return Popen([sys.executable, "-c", MIGRATE], env=environment, stdout=PIPE, stderr=STDOUT, text=True)


def test_the_models_and_the_migrations_agree(database: None) -> None:
    command.check(schema._config())


def test_they_agree_on_types_and_defaults_too(database: None) -> None:
    options = {"compare_type": True, "compare_server_default": True}

    with engine().connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert differences == []


def test_a_migrated_database_is_at_the_revision_that_the_code_wants(database: None) -> None:
    assert schema.present() == schema.wanted()
    assert schema.wanted() is not None


def test_migrating_again_changes_nothing(database: None) -> None:
    before = _columns()

    schema.migrate()

    assert _columns() == before
    assert schema.present() == schema.wanted()


@pytest.mark.parametrize(
    ("found", "mend"),
    [(None, "`ratchet migrate`"), ("0001", "`ratchet migrate`"), ("9999", "run the newer code")],
)
def test_a_database_of_another_version_is_told_from_a_newer_one(
    monkeypatch: pytest.MonkeyPatch, found: str | None, mend: str
) -> None:
    monkeypatch.setattr(schema, "present", lambda: found)

    assert mend in schema.how_to_meet()


def test_processes_that_start_together_migrate_once(empty_database: str) -> None:
    processes = [_migrating(empty_database) for _ in range(3)]

    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]

    assert outputs == [schema.wanted()] * 3
    assert [process.returncode for process in processes] == [0, 0, 0]


@pytest.fixture
def impatient_engine(database: None) -> Iterator[None]:
    """Let every connection give up on a lock after 20 ms."""
    impatience = (engine(), "checkout", lambda connection, *_: connection.execute("SET lock_timeout = 20"))
    listen(*impatience)
    yield
    remove(*impatience)
    engine().dispose()


def test_whoever_comes_second_waits_longer_than_for_any_other_lock(impatient_engine: None) -> None:
    with engine().connect() as holder:
        holder.execute(text("SELECT pg_advisory_lock(:key)"), {"key": schema._MIGRATING})

        at_once(schema.migrate, lambda: _let_go_late(holder))

    assert schema.present() == schema.wanted()


def _let_go_late(holder: Connection) -> None:
    wait_until(_somebody_has_waited_for_long)
    holder.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": schema._MIGRATING})


def _somebody_has_waited_for_long() -> bool:
    waiting = text("SELECT count(*) FROM pg_locks WHERE clock_timestamp() - waitstart > interval '100 ms'")
    with engine().connect() as connection:
        return bool(connection.execute(waiting).scalar_one())


def test_there_is_no_way_down_from_the_spine(database: None) -> None:
    with pytest.raises(RuntimeError, match="restore a backup"):
        command.downgrade(schema._config(), "base")

    assert schema.present() == schema.wanted()


def _columns() -> list[tuple[str, ...]]:
    with transaction() as session:
        rows = session.connection().execute(
            text(
                "SELECT table_name, column_name, data_type FROM information_schema.columns"
                " WHERE table_schema = 'public' ORDER BY 1, 2"
            )
        )
        return [tuple(row) for row in rows]
