"""The one engine and the one way to open a transaction. Nothing else connects, nothing else commits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

import orjson
from sqlalchemy import Engine, MetaData
from sqlmodel import Session, SQLModel, create_engine

from settings import settings

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata: Final[MetaData] = SQLModel.metadata

LOCK_TIMEOUT_MS: Final = 10_000
"""Nobody holds a row lock while thinking, so a longer wait is a fault to be seen and retried."""


_making: Final = threading.Lock()


def engine() -> Engine:
    """Return this process's engine. Connections are checked when they are taken, so a restart of PostgreSQL heals."""
    with _making:  # `cache` alone would make one for each of the threads that are first
        return _engine()


def hang_up() -> None:
    """Close this process's connections and forget where they went, for those who move to another database."""
    with _making:
        if _engine.cache_info().currsize:
            _engine().dispose()
            _engine.cache_clear()


@cache
def _engine() -> Engine:
    return create_engine(
        settings().database_url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=10,
        max_overflow=10,
        pool_pre_ping=True,
        pool_timeout=5,
        json_deserializer=orjson.loads,
        hide_parameters=True,  # a failed statement is logged with its error, never with a partner's rows
        # Compiling a statement takes longer than any of ours may take.
        connect_args={"connect_timeout": 3, "options": f"-c lock_timeout={LOCK_TIMEOUT_MS} -c timezone=UTC -c jit=off"},
    )


@contextmanager
def transaction() -> Iterator[Session]:
    """Open a transaction; it commits when the block ends and rolls back when the block raises.

    For edges only: a route, an actor, a job. Functions further down take the session and never commit it.
    """
    with Session(engine(), expire_on_commit=False) as session, session.begin():
        yield session
