"""The queue: woken at once, and nothing is lost with a worker, with Redis' process or with Redis' memory."""

import signal
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import dramatiq
import pytest
import redis
from sqlalchemy import text

import workers.broker
from embedded.redis import Redis
from models.database import engine
from models.inbox import InboxState
from models.integration import Integration
from settings import settings
from tests.concurrency import somebody_waits_for_a_lock, wait_until
from tests.factories import a_payout, an_inbox_event, an_integration, get_inbox_event
from tests.receiver.doors import news
from tests.servers import a_process, a_redis
from workers.apply import apply
from workers.broker import MOST_TOKENS, NAMESPACE, WakingBroker


@pytest.fixture(scope="module")
def own_redis() -> Iterator[Redis]:
    with a_redis() as server:
        yield server


@pytest.fixture
def queue(own_redis: Redis, monkeypatch: pytest.MonkeyPatch) -> WakingBroker:
    """Production's broker on a Redis of its own."""
    mine = replace(settings(), redis_url=own_redis.url)
    monkeypatch.setattr(workers.broker, "settings", lambda: mine)
    queue = workers.broker._broker()
    queue.flush_all()
    queue.client.flushall()
    return queue


def _listens(queue: WakingBroker) -> bool:
    return any(client["cmd"] == "brpop" for client in queue.client.client_list())


def an_event(integration: Integration, number: int) -> int:
    a_payout(integration, reference=f"cpoi_{number}", amount_minor=100_050, currency="USD")
    return an_inbox_event(integration, news(f"cpoi_{number}"))


def _applied(*ids: int) -> bool:
    return {get_inbox_event(event_id).state for event_id in ids} == {InboxState.APPLIED}


def test_an_idle_worker_starts_at_once(queue: WakingBroker) -> None:
    started: list[float] = []

    @dramatiq.actor(broker=queue, queue_name="idle")
    def work() -> None:
        started.append(time.perf_counter())

    worker = dramatiq.Worker(queue, worker_threads=1)
    worker.start()
    waits = []
    for n in range(21):
        wait_until(lambda: _listens(queue))
        sent = time.perf_counter()
        work.send()
        wait_until(lambda n=n: len(started) > n)  # type: ignore[misc]
        waits.append(started[n] - sent)
    worker.stop()

    assert statistics.median(waits) < 0.1, waits


def test_a_burst_is_all_done_and_leaves_a_bounded_number_of_tokens(queue: WakingBroker) -> None:
    done: list[int] = []

    @dramatiq.actor(broker=queue, queue_name="burst")
    def work(number: int) -> None:
        done.append(number)

    for n in range(500):
        work.send(n)
    tokens = queue.client.llen(queue.bell("burst"))
    worker = dramatiq.Worker(queue, worker_threads=4)
    worker.start()
    wait_until(lambda: len(done) == 500)
    worker.stop()

    assert sorted(done) == list(range(500))
    assert tokens <= MOST_TOKENS + 1


def test_a_message_that_fails_is_not_tried_again_by_the_queue_and_the_others_go_on(queue: WakingBroker) -> None:
    runs: list[str] = []

    @dramatiq.actor(broker=queue, queue_name="fails")
    def work(word: str) -> None:
        runs.append(word)
        if word == "bad":
            raise ValueError(word)

    worker = dramatiq.Worker(queue, worker_threads=1)
    worker.start()
    for word in ("bad", "good", "better"):
        work.send(word)
    wait_until(lambda: len(runs) == 3)
    queue.join("fails", timeout=10_000)
    worker.stop()

    assert runs == ["bad", "good", "better"]
    assert queue.client.llen(f"{NAMESPACE}:fails") == 0


def test_a_busy_worker_holds_no_more_than_it_was_given_room_for(queue: WakingBroker) -> None:
    running, may_go = threading.Semaphore(0), threading.Event()

    @dramatiq.actor(broker=queue, queue_name="busy")
    def work() -> None:
        running.release()
        may_go.wait(20)

    for _ in range(50):
        work.send()
    worker = dramatiq.Worker(queue, worker_threads=2)
    worker.start()
    for _ in range(2):
        assert running.acquire(timeout=20)
    left_for_others = queue.client.llen(f"{NAMESPACE}:busy")
    may_go.set()
    queue.join("busy", timeout=20_000)
    worker.stop()

    assert left_for_others > 0


def test_messages_of_a_killed_worker_run_again_within_fifteen_seconds(
    database: None, queue: WakingBroker, own_redis: Redis
) -> None:
    integration = an_integration()
    ids = [an_event(integration, n) for n in range(4)]
    with engine().connect() as lock:
        lock.execute(text("LOCK TABLE inbox_new IN ACCESS EXCLUSIVE MODE"))
        with a_process("-m", "workers", REDIS_URL=own_redis.url) as killed:
            for event_id in ids:
                queue.enqueue(apply.message([event_id]))
            wait_until(lambda: queue.client.llen(f"{NAMESPACE}:apply") == 0 and somebody_waits_for_a_lock())
            killed.send_signal(signal.SIGKILL)
            killed.wait()
            killed_at = time.monotonic()
        lock.rollback()

    with a_process("-m", "workers", REDIS_URL=own_redis.url):
        wait_until(lambda: _applied(*ids))

    assert time.monotonic() - killed_at < 15


def test_a_worker_survives_a_restart_of_redis_and_messages_survive_it_too(
    database: None, queue: WakingBroker, own_redis: Redis
) -> None:
    integration = an_integration()
    before, queued, after = (an_event(integration, n) for n in range(3))
    with a_process("-m", "workers", REDIS_URL=own_redis.url) as worker:
        queue.enqueue(apply.message([before]))
        wait_until(lambda: _applied(before))

        own_redis.stop()
        with pytest.raises(redis.ConnectionError):
            queue.enqueue(apply.message([queued]))
        own_redis.start()
        queue.enqueue(apply.message([after]))
        wait_until(lambda: _applied(after))

        assert worker.poll() is None


def test_a_queued_message_survives_a_restart_of_redis(database: None, queue: WakingBroker, own_redis: Redis) -> None:
    event_id = an_event(an_integration(), 0)
    queue.enqueue(apply.message([event_id]))

    own_redis.stop()
    own_redis.start()
    with a_process("-m", "workers", REDIS_URL=own_redis.url):
        wait_until(lambda: _applied(event_id))


def test_a_worker_survives_the_loss_of_everything_in_redis(
    database: None, queue: WakingBroker, own_redis: Redis
) -> None:
    integration = an_integration()
    before, after = (an_event(integration, n) for n in range(2))
    with a_process("-m", "workers", REDIS_URL=own_redis.url) as worker:
        queue.enqueue(apply.message([before]))
        wait_until(lambda: _applied(before))

        queue.client.flushall()
        queue.client.script_flush()
        queue.enqueue(apply.message([after]))
        wait_until(lambda: _applied(after))

        assert worker.poll() is None


def test_the_backlog_counts_what_nobody_has_taken(queue: WakingBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.broker, "broker", queue)

    for _ in range(3):
        queue.enqueue(apply.message([1]))

    assert workers.broker.backlog("apply") == 3
    assert workers.broker.backlog("nothing") == 0


def test_a_worker_that_is_told_to_stop_ends_at_once_and_well(queue: WakingBroker, own_redis: Redis) -> None:
    with a_process("-m", "workers", REDIS_URL=own_redis.url) as worker:
        wait_until(lambda: _listens(queue))
        worker.terminate()

        assert worker.wait(10) == 0
