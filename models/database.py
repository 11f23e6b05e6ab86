"""The one engine and the one way to open a transaction. Nothing else connects, nothing else commits."""

import math
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Final, cast

import orjson
import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import Engine, MetaData, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry
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

KEEPALIVES: Final[Mapping[str, Any]] = MappingProxyType(
    {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
)
"""Of a connection to PostgreSQL, in seconds and milliseconds. A network that swallows packets is given up after about
ten seconds; as the system has it, whoever asks over such a connection waits for a quarter of an hour."""

RESTED_SECONDS: Final = 0.25
"""PostgreSQL does not restart in less: a connection that was used since then need not be asked whether it stands."""

_making: Final = threading.Lock()


def engine() -> Engine:
    """Return this process's engine. Connections that have rested are checked, so a restart of PostgreSQL heals."""
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
    made = create_engine(
        settings().database_url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=10,
        max_overflow=10,
        pool_timeout=5,
        json_deserializer=orjson.loads,
        hide_parameters=True,  # a failed statement is logged with its error, never with a partner's rows
        # Compiling a statement takes longer than any of ours may take.
        connect_args={
            "connect_timeout": 3,
            "options": f"-c lock_timeout={LOCK_TIMEOUT_MS} -c timezone=UTC -c jit=off",
            **KEEPALIVES,
        },
    )
    event.listen(made, "checkin", _note_use)
    event.listen(made, "checkout", partial(_check, made))
    return made


def _note_use(_: Any, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _check(made: Engine, connection: DBAPIConnection, record: ConnectionPoolEntry, _: Any) -> None:
    """Ask a connection that has rested whether it still stands; if not, neither do the others of its time."""
    if time.monotonic() - record.info.get("used_at", math.inf) < RESTED_SECONDS:
        return
    try:
        made.dialect.do_ping(connection)
    except Exception as error:
        raise InvalidatePoolError from error


@contextmanager
def transaction() -> Iterator[Session]:
    """Open a transaction; it commits when the block ends and rolls back when the block raises.

    For edges only: a route, an actor, a job. Functions further down take the session and never commit it.
    """
    with Session(engine(), expire_on_commit=False) as session, session.begin():
        yield session


class Quick:
    """A statement for the few paths that are measured: past SQLAlchemy, which costs several times what psycopg does.

    It runs in the session's own transaction and connection. What the database says no to is raised as SQLAlchemy
    raises it, so that nobody has to know which way a statement went.
    """

    def __init__(self, statement: str, *, binary: bool = False, planned_anew: bool = False) -> None:
        """`statement` names its parameters as `text()` does: `:name`.

        `binary` is for results that hold bytes. What is `planned_anew` each time keeps no plan of a time when a table
        that is mostly empty was.
        """
        self.statement = statement  # for whoever explains it
        self._binary = binary
        self._prepare = False if planned_anew else None
        self.text = _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))

    def run(self, session: Session, parameters: Mapping[str, Any]) -> "psycopg.Cursor[Any]":
        """Run it, and return the cursor: its rows have names."""
        connection = session.connection()
        cursor = cast("psycopg.Cursor[Any]", connection.connection.cursor())
        cursor.row_factory = namedtuple_row
        try:
            return cursor.execute(self.text, parameters, prepare=self._prepare, binary=self._binary)
        except psycopg.Error as error:
            raise DBAPIError.instance(
                self.text, None, error, psycopg.Error, hide_parameters=True, dialect=connection.dialect
            ) from error


_PARAMETER: Final = re.compile(r"(?<!:):([a-z_]+)")
