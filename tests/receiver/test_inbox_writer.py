"""Group commit: who shares a transaction with whom, and who does not share another's misfortune."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

import receiver.inbox_writer
from models.database import engine
from receiver.inbox_writer import Arrival, InboxUnavailable, InboxWriter, IntegrationFloods
from settings import settings
from telemetry import metrics
from tests.concurrency import somebody_waits_for_a_lock, wait_until
from tests.receiver.doors import inbox


def an_arrival(key: str = "evt_1", *, integration_id: int = 1, body: bytes | None = None) -> Arrival:
    return Arrival(
        integration_id,
        key,
        key.encode("utf-8", "replace") if body is None else body,
        b"",
        datetime.now(UTC).timestamp(),
    )


@dataclass
class Bench:
    """A writer on the suite's database, and what it told about commits."""

    writer: InboxWriter
    committed: list[list[int]]

    async def stored(self, *arrivals: Arrival) -> list[BaseException | None]:
        """Store all at once and return what became of each."""
        return await asyncio.gather(*[self.writer.store(arrival) for arrival in arrivals], return_exceptions=True)


def at_a_bench(work: Callable[[Bench], Awaitable[Any]], database_url: str | None = None) -> Bench:
    """Run `work` with a writer that is closed afterwards."""

    async def run() -> Bench:
        committed: list[list[int]] = []
        bench = Bench(InboxWriter(database_url or settings().database_url, str, committed.append), committed)
        try:
            await work(bench)
        finally:
            await bench.writer.close()
            await _until_alone()
        return bench

    return asyncio.run(run())


async def _until_alone() -> None:
    """Let asyncpg finish what it does in the background, such as cancelling a statement."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=10)


async def _until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition)


def test_what_arrives_during_a_commit_shares_the_next_one(database: None) -> None:
    async def work(bench: Bench) -> None:
        await bench.stored(an_arrival("warm"))
        with engine().connect() as other:
            other.execute(text("LOCK TABLE inbox_event IN SHARE MODE"))
            first = bench.writer.store(an_arrival("first"))
            await _until(somebody_waits_for_a_lock)
            gathered = [bench.writer.store(an_arrival(f"evt_{n}")) for n in range(100)]
            other.rollback()
        await asyncio.gather(first, *gathered)

    bench = at_a_bench(work)

    assert [len(ids) for ids in bench.committed] == [1, 1, 100]
    assert len(inbox()) == 102


def test_a_batch_is_bounded(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver.inbox_writer, "LARGEST_BATCH", 10)

    bench = at_a_bench(lambda bench: bench.stored(*[an_arrival(f"evt_{n}") for n in range(25)]))

    assert [len(ids) for ids in bench.committed] == [10, 10, 5]


def test_the_ids_it_tells_are_those_of_the_new_rows(database: None) -> None:
    async def work(bench: Bench) -> None:
        await bench.stored(an_arrival("known"))
        await bench.stored(an_arrival("known"), an_arrival("new"), an_arrival("new"))

    bench = at_a_bench(work)

    known, new = inbox()
    assert bench.committed == [[known.id], [new.id]]


def test_a_batch_of_repetitions_tells_nobody(database: None) -> None:
    async def work(bench: Bench) -> None:
        await bench.stored(an_arrival())
        assert await bench.stored(an_arrival(), an_arrival()) == [None, None]

    assert len(at_a_bench(work).committed) == 1


def test_repetitions_within_one_batch_are_one_row_and_every_one_is_acknowledged(database: None) -> None:
    outcomes: list[BaseException | None] = []

    async def work(bench: Bench) -> None:
        outcomes.extend(await bench.stored(*[an_arrival("same")] * 50, an_arrival("same", body=b"another body")))

    at_a_bench(work)

    assert outcomes == [None] * 51
    assert sorted((event.event_key, event.body) for event in inbox()) == [("same", b"another body"), ("same", b"same")]


def test_repetitions_are_counted_apart(database: None) -> None:
    accepted, repeated = metrics.ACCEPTED.labels("77"), metrics.REPEATED.labels("77")

    at_a_bench(lambda bench: bench.stored(*[an_arrival("same", integration_id=77)] * 5))

    assert (accepted._value.get(), repeated._value.get()) == (5, 4)


@pytest.mark.parametrize(
    "key", ["nul \0 inside", "\ud800", "".join(chr(0x4E00 + n * 7 % 20_000) for n in range(9_000))]
)
def test_a_key_that_postgresql_refuses_does_not_fail_its_neighbours(database: None, key: str) -> None:
    outcomes: list[BaseException | None] = []

    async def work(bench: Bench) -> None:
        arrivals = [an_arrival(f"evt_{n}") for n in range(20)]
        outcomes.extend(await bench.stored(*arrivals[:7], an_arrival(key, body=b"poison"), *arrivals[7:]))

    at_a_bench(work)

    assert outcomes == [None] * 21
    events = inbox()
    assert len(events) == 21
    (poison,) = (event for event in events if event.body == b"poison")
    assert poison.event_key.startswith("blake2b:")


def test_a_refused_key_is_still_the_same_key_the_next_time(database: None) -> None:
    async def work(bench: Bench) -> None:
        for _ in range(3):
            await bench.stored(an_arrival("nul \0 inside", body=b"poison"))

    at_a_bench(work)

    assert len(inbox()) == 1


def test_a_row_that_can_never_be_stored_is_not_acknowledged(database: None) -> None:
    outcomes: list[BaseException | None] = []

    async def work(bench: Bench) -> None:
        outcomes.extend(await bench.stored(an_arrival(integration_id=2**40)))
        outcomes.extend(await bench.stored(an_arrival("next")))

    at_a_bench(work)

    assert isinstance(outcomes[0], InboxUnavailable)
    assert outcomes[1] is None


def test_it_takes_no_more_than_it_can_hold(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver.inbox_writer, "LONGEST_QUEUE", 10)

    async def work(bench: Bench) -> None:
        taken = [bench.writer.store(an_arrival(f"evt_{n}", integration_id=n)) for n in range(10)]
        with pytest.raises(InboxUnavailable):
            bench.writer.store(an_arrival("one_more", integration_id=11))
        await asyncio.gather(*taken)
        await bench.writer.store(an_arrival("one_more", integration_id=11))

    at_a_bench(work)

    assert len(inbox()) == 11


def test_it_takes_no_more_bytes_than_it_can_hold(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(an_arrival("evt_0").body)
    monkeypatch.setattr(receiver.inbox_writer, "MOST_WAITING_BYTES", 3 * size)

    async def work(bench: Bench) -> None:
        taken = [bench.writer.store(an_arrival(f"evt_{n}")) for n in range(3)]
        with pytest.raises(InboxUnavailable):
            bench.writer.store(an_arrival("evt_3"))
        await asyncio.gather(*taken)
        await bench.writer.store(an_arrival("evt_3"))

    at_a_bench(work)

    assert len(inbox()) == 4


def test_one_integration_gets_half_of_the_room(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver.inbox_writer, "LONGEST_QUEUE", 10)

    async def work(bench: Bench) -> None:
        taken = [bench.writer.store(an_arrival(f"evt_{n}")) for n in range(5)]
        with pytest.raises(IntegrationFloods):
            bench.writer.store(an_arrival("evt_5"))
        taken.append(bench.writer.store(an_arrival("evt_5", integration_id=2)))
        await asyncio.gather(*taken)
        await bench.writer.store(an_arrival("evt_5"))

    at_a_bench(work)

    assert len(inbox()) == 7


def test_it_connects_again_when_its_connection_was_cut(database: None) -> None:
    outcomes: list[BaseException | None] = []

    async def work(bench: Bench) -> None:
        await bench.stored(an_arrival("before"))
        with psycopg.connect(settings().database_url) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%inbox%'"
            )
        outcomes.extend(await bench.stored(an_arrival("cut")))
        outcomes.extend(await bench.stored(an_arrival("after")))

    at_a_bench(work)

    assert outcomes[1] is None
    stored = {event.event_key for event in inbox()}
    assert {"before", "after"} <= stored
    assert ("cut" in stored) == (outcomes[0] is None)


def test_it_prepares_again_when_its_statement_was_lost(database: None) -> None:
    async def work(bench: Bench) -> None:
        await bench.stored(an_arrival("before"))
        assert bench.writer._connection is not None
        await bench.writer._connection.execute("DEALLOCATE ALL")
        await bench.stored(an_arrival("lost"))
        assert await bench.stored(an_arrival("after")) == [None]

    at_a_bench(work)


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_commit_that_hangs_is_given_up_and_not_acknowledged(
    database: None, monkeypatch: pytest.MonkeyPatch, *, is_connected: bool
) -> None:
    monkeypatch.setattr(receiver.inbox_writer, "COMMIT_TIMEOUT_SECONDS", 0.2)
    outcomes: list[BaseException | None] = []

    async def work(bench: Bench) -> None:
        if is_connected:
            await bench.stored(an_arrival("before"))
        with engine().connect() as other:
            other.execute(text("LOCK TABLE inbox_event IN SHARE MODE"))
            outcomes.extend(await bench.stored(an_arrival("hanging")))
            other.rollback()
        outcomes.extend(await bench.stored(an_arrival("after")))

    at_a_bench(work)

    assert isinstance(outcomes[0], InboxUnavailable)
    assert outcomes[1] is None


def test_without_a_database_everybody_is_told_at_once(database: None) -> None:
    outcomes: list[BaseException | None] = []

    async def work(bench: Bench) -> None:
        outcomes.extend(await bench.stored(*[an_arrival(f"evt_{n}") for n in range(3)]))

    at_a_bench(work, "postgresql://ratchet@/ratchet?host=/nowhere")

    assert [type(outcome) for outcome in outcomes] == [InboxUnavailable] * 3


def test_a_database_of_another_version_is_away_until_it_is_this_ones(database: None) -> None:
    outcomes: list[BaseException | None] = []

    async def work(bench: Bench) -> None:
        with _renamed("header_lines", "headers"), capture_logs() as lines:
            outcomes.extend(await bench.stored(*[an_arrival(f"evt_{n}") for n in range(3)]))
        outcomes.extend(await bench.stored(an_arrival("after")))
        assert {line["event"] for line in lines} == {"inbox.database_away"}

    at_a_bench(work)

    assert [type(outcome) for outcome in outcomes[:3]] == [InboxUnavailable] * 3
    assert outcomes[3] is None


@contextlib.contextmanager
def _renamed(column: str, name: str) -> Iterator[None]:
    rename = "ALTER TABLE inbox_event RENAME COLUMN {} TO {}"
    with engine().begin() as connection:
        connection.execute(text(rename.format(column, name)))
    try:
        yield
    finally:
        with engine().begin() as connection:
            connection.execute(text(rename.format(name, column)))


def test_closing_commits_what_waits(database: None) -> None:
    async def work(bench: Bench) -> None:
        for n in range(10):
            bench.writer.store(an_arrival(f"evt_{n}"))

    at_a_bench(work)

    assert len(inbox()) == 10


def test_a_gateway_that_gave_up_waiting_is_stored_and_its_neighbours_are_answered(database: None) -> None:
    async def work(bench: Bench) -> None:
        gone, waiting = bench.writer.store(an_arrival("gone")), bench.writer.store(an_arrival("waiting"))
        gone.cancel()
        await waiting

    at_a_bench(work)

    assert {event.event_key for event in inbox()} == {"gone", "waiting"}


def test_a_surprise_does_not_end_the_flusher(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[BaseException | None] = []

    async def work(bench: Bench) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(metrics.COMMIT, "observe", lambda _: 1 / 0)
            with capture_logs():
                outcomes.extend(await bench.stored(an_arrival("surprise")))
        outcomes.extend(await bench.stored(an_arrival("after")))

    at_a_bench(work)

    assert isinstance(outcomes[0], InboxUnavailable)
    assert outcomes[1] is None
