"""Real PostgreSQL and real Redis for the whole suite, started here and stopped here, on unix sockets."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from embedded.postgres import Postgres
from embedded.redis import Redis

_FOLDER = Path(tempfile.mkdtemp(prefix="ratchet-tests-"))
_FOLDER.chmod(0o711)  # PostgreSQL runs as nobody
_FROM_WHEEL = os.environ.get("RATCHET_EMBEDDED") == "wheels"
_POSTGRES = Postgres(_FOLDER / "postgres", from_wheel=_FROM_WHEEL, durable=False)
_REDIS = Redis(_FOLDER / "redis", from_wheel=_FROM_WHEEL)
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith("RATCHET_")}


def _start_servers() -> None:
    """Start the servers and point the project at them."""
    _POSTGRES.start()
    _REDIS.start()
    (_FOLDER / "metrics").mkdir()
    _ENVIRONMENT.update(
        DATABASE_URL=_POSTGRES.url("ratchet"),
        REDIS_URL=_REDIS.url,
        RATCHET_SECRET_KEYS=Fernet.generate_key().decode(),
        RATCHET_HOME=str(_FOLDER),
        RATCHET_PRIVATE_ENDPOINTS="1",
        RATCHET_SECURE_COOKIES="0",
        PROMETHEUS_MULTIPROC_DIR=str(_FOLDER / "metrics"),
    )
    os.environ.update(_ENVIRONMENT)


# Before any other module is imported, conftests further down included: the broker reads its settings on import.
_start_servers()


def pytest_unconfigure() -> None:
    """Stop them and leave nothing behind."""
    _POSTGRES.stop()
    _REDIS.stop()
    if _POSTGRES.sockets.parent != _POSTGRES.folder:
        shutil.rmtree(_POSTGRES.sockets, ignore_errors=True)
    shutil.rmtree(_FOLDER, ignore_errors=True)


@pytest.fixture(autouse=True)
def _our_own_environment() -> Iterator[None]:
    """Come back from a test that brought a whole installation up: this process has adopted its settings."""
    yield
    if os.environ["DATABASE_URL"] != _ENVIRONMENT["DATABASE_URL"]:
        from models import database
        from settings import settings

        for name in [name for name in os.environ if name.startswith("RATCHET_")]:
            del os.environ[name]
        os.environ.update(_ENVIRONMENT)
        settings.cache_clear()
        database.hang_up()


@pytest.fixture(scope="session")
def servers() -> tuple[Postgres, Redis]:
    """Return the suite's servers, for tests that stop and start them."""
    return _POSTGRES, _REDIS


@pytest.fixture(scope="session")
def _migrated() -> None:
    from models import schema

    schema.migrate()


_FROM_ONE = """
    SELECT setval(pg_get_serial_sequence(quote_ident(table_name), column_name), 1, false)
    FROM information_schema.columns WHERE table_schema = 'public' AND is_identity = 'YES'
"""


@pytest.fixture
def database(_migrated: None) -> Iterator[None]:
    """Give a test every table, empty."""
    from sqlalchemy import text

    from models.database import metadata, transaction

    yield
    # TRUNCATE takes ten times as long.
    emptied = [f'DELETE FROM "{table.name}"' for table in metadata.sorted_tables]  # noqa: S608 (our tables' names)
    with transaction() as session:
        session.connection().execute(text("SET LOCAL session_replication_role = replica"))  # the audit is append-only
        session.connection().exec_driver_sql("; ".join([*emptied, _FROM_ONE]))
