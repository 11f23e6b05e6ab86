"""Group commit: many webhooks, one transaction, and nobody is answered before it.

While one batch is being committed the next one gathers. There is no timer: an idle system commits a single webhook
at once, a busy one commits hundreds together.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import asyncpg
import structlog

from telemetry import metrics

LARGEST_BATCH: Final = 512
LONGEST_QUEUE: Final = 8_192
"""Webhooks waiting for a commit."""
MOST_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Their bodies together: numbers alone would let 256 KiB each grow to two gigabytes."""
COMMIT_TIMEOUT_SECONDS: Final = 5.0
CONNECT_TIMEOUT_SECONDS: Final = 3.0

_INSERT: Final = """
WITH stored AS (
    INSERT INTO inbox_event (integration_id, event_key, body, body_digest, header_lines, received_at)
    SELECT integration_id, event_key, body, substring(sha256(body) FOR 16), header_lines, to_timestamp(received_at)
    FROM unnest($1::int[], $2::text[], $3::bytea[], $4::bytea[], $5::float8[])
        AS arrival (integration_id, event_key, body, header_lines, received_at)
    ON CONFLICT (integration_id, event_key, body_digest) DO NOTHING
    RETURNING id, integration_id, received_at
), queued AS (
    INSERT INTO inbox_new (event_id, received_at) SELECT id, received_at FROM stored
)
SELECT id, integration_id FROM stored
"""
"""The columns are those of `Arrival`, in its order. What PostgreSQL can make of them it makes: this process is the
busier one, and each column more, and each time that is no plain number, costs it about a microsecond a webhook."""

_log = structlog.get_logger(__name__)


class InboxUnavailable(Exception):
    """The webhook was not stored: the database is away, or more wait for it than we hold. The gateway sends again."""


class IntegrationFloods(InboxUnavailable):
    """One integration fills half of the queue; it is slowed down so that the others get through."""


class Arrival(NamedTuple):
    """One verified webhook on its way into the inbox. A tuple, so that a batch turns into columns in one step."""

    integration_id: int
    event_key: str
    body: bytes
    header_lines: bytes
    received_at: float
    """Seconds since 1970."""

    def __repr__(self) -> str:
        """Say what arrived, and nothing of what is in it."""
        return f"Arrival(integration_id={self.integration_id}, received_at={self.received_at})"


class InboxWriter:
    """One connection, one flusher. `store()` returns when the webhook is committed."""

    def __init__(self, database_url: str, slugs: Callable[[int], str], committed: Callable[[list[int]], None]) -> None:
        """`committed` is told the ids of new rows; `slugs` names integrations for the metrics."""
        self._database_url = database_url
        self._slugs = slugs
        self._committed = committed
        self._waiting: list[tuple[Arrival, asyncio.Future[None]]] = []
        self._waiting_bytes = 0
        self._per_integration: Counter[int] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._connection: asyncpg.Connection | None = None
        self._insert: asyncpg.prepared_stmt.PreparedStatement | None = None

    def store(self, arrival: Arrival) -> asyncio.Future[None]:
        """Return a future that is done once `arrival` is committed, or was known already.

        Raises `InboxUnavailable` or `IntegrationFloods`, at once or from the future.
        """
        size = len(arrival.body)
        if len(self._waiting) >= LONGEST_QUEUE or self._waiting_bytes + size > MOST_WAITING_BYTES:
            raise InboxUnavailable
        if self._per_integration[arrival.integration_id] >= LONGEST_QUEUE // 2:
            raise IntegrationFloods
        done: asyncio.Future[None] = (self._loop or self._join()).create_future()
        self._waiting.append((arrival, done))
        self._waiting_bytes += size
        self._per_integration[arrival.integration_id] += 1
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        return done

    def _join(self) -> asyncio.AbstractEventLoop:
        """Remember whose futures to make: to ask the system which loop runs costs more than the future."""
        self._loop = asyncio.get_running_loop()
        return self._loop

    async def close(self) -> None:
        """Commit what waits, then hang up."""
        if self._flusher:
            await self._flusher
        if self._connection:
            await self._connection.close(timeout=CONNECT_TIMEOUT_SECONDS)

    async def _flush(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
            batch, answers = zip(*waiting, strict=True)
            self._waiting_bytes -= sum([len(arrival.body) for arrival in batch])
            self._per_integration.subtract(_numbers(batch))
            try:
                await self._commit(batch)
            except InboxUnavailable as error:
                _answer(answers, error)
            except Exception as error:  # noqa: BLE001 (an unanswered webhook is sent again, a dead flusher answers none)
                _log.exception("inbox.flush_failed")
                _answer(answers, InboxUnavailable(type(error).__name__))
            else:
                _answer(answers, None)

    async def _commit(self, batch: Sequence[Arrival]) -> None:
        started = time.perf_counter()
        try:
            ids = await self._write(batch)
        except (OSError, TimeoutError, asyncpg.InterfaceError, *_AWAY) as error:
            await self._hang_up()
            _log.warning("inbox.database_away", error=type(error).__name__, webhooks=len(batch))
            raise InboxUnavailable(type(error).__name__) from None
        except (asyncpg.DataError, asyncpg.PostgresError, ValueError):
            await self._commit_apart(batch)
            return
        metrics.COMMIT.observe(time.perf_counter() - started)
        if ids:
            self._committed(ids)

    async def _commit_apart(self, batch: Sequence[Arrival]) -> None:
        """Keep one row that PostgreSQL will not take from failing its neighbours."""
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
            return
        safe_key = f"blake2b:{blake2b(batch[0].body, digest_size=16).hexdigest()}"
        if batch[0].event_key == safe_key:
            _log.error("inbox.row_refused", integration=self._slugs(batch[0].integration_id))
            await self._hang_up()  # if it is the connection and not the row, the next one does better
            raise InboxUnavailable("row refused")
        await self._commit([batch[0]._replace(event_key=safe_key)])

    async def _write(self, batch: Sequence[Arrival]) -> list[int]:
        insert = self._insert if self._insert is not None else await self._connect()
        columns = zip(*batch, strict=True)
        rows = await insert.fetch(*columns, timeout=COMMIT_TIMEOUT_SECONDS)
        self._count(_numbers(batch), Counter([row[1] for row in rows]))
        return [row[0] for row in rows]

    def _count(self, accepted: Counter[int], fresh: Counter[int]) -> None:
        for integration_id, number in accepted.items():
            slug = self._slugs(integration_id)
            metrics.ACCEPTED.labels(slug).inc(number)
            if number > fresh[integration_id]:
                metrics.REPEATED.labels(slug).inc(number - fresh[integration_id])

    async def _connect(self) -> asyncpg.prepared_stmt.PreparedStatement:
        self._connection = await asyncpg.connect(
            self._database_url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            server_settings={"application_name": "ratchet inbox writer"},
        )
        self._insert = await self._connection.prepare(_INSERT, timeout=COMMIT_TIMEOUT_SECONDS)
        return self._insert

    async def _hang_up(self) -> None:
        if self._connection:
            self._connection.terminate()
        self._connection = self._insert = None


_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,  # shutting down, crashed, starting up
    asyncpg.exceptions.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.exceptions.UndefinedTableError,  # not migrated yet
    asyncpg.exceptions.UndefinedColumnError,  # of another version
    asyncpg.exceptions.ReadOnlySQLTransactionError,  # a standby before its promotion
    asyncpg.exceptions.QueryCanceledError,
)


def _numbers(batch: Sequence[Arrival]) -> Counter[int]:
    """Return how many are of which integration. Counted from a list: a generator costs thrice as much."""
    return Counter([arrival.integration_id for arrival in batch])


def _answer(answers: Sequence["asyncio.Future[None]"], error: Exception | None) -> None:
    for done in answers:
        if done.done():  # the gateway hung up meanwhile; its webhook counts all the same
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
