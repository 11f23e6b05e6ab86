"""One leader: whoever holds a session-level advisory lock of PostgreSQL. It is gone the moment its connection is."""

from typing import Final

import psycopg
import structlog

from models.database import KEEPALIVES

LOCK: Final = 4_837_101

_SERVERS_END: Final = " ".join(f"-c tcp_{name.removeprefix('tcp_')}={value}" for name, value in KEEPALIVES.items())

_log = structlog.get_logger(__name__)


class Leadership:
    """A dedicated connection (never through a transaction pooler) and the lock on it."""

    def __init__(self, database_url: str) -> None:
        """Hold nothing yet."""
        self._database_url = database_url
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def held(self) -> bool:
        """Take the lock, or confirm that it is still held. False while another process leads or PostgreSQL is away."""
        try:
            if self._connection is None:
                return self._contest()
            self._connection.execute("SELECT 1")
        except psycopg.Error as error:
            _log.warning("leader.connection_lost", error=type(error).__name__)
            self.resign()
            return False
        return True

    def resign(self) -> None:
        """Let the lock go by hanging up."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def _contest(self) -> bool:
        connection = psycopg.connect(
            self._database_url,
            autocommit=True,
            connect_timeout=3,
            application_name="ratchet leader",
            # Where a network swallows packets, this end gives up within seconds and stops leading,
            **KEEPALIVES,
            # and so does the server's, which would else keep the lock of a vanished host for two hours.
            options=_SERVERS_END,
        )
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone()
        if row and row[0]:
            self._connection = connection
            return True
        connection.close()
        return False
