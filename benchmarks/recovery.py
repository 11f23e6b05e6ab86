"""How long a killed worker's messages and a killed leader's duties lie about."""

import signal
import time
from typing import Final

import redis

from benchmarks.apply import fill_inbox
from benchmarks.ground import Ground, wait_for
from benchmarks.tables import Check, Figure
from reconciler.leader import LOCK

MESSAGES: Final = 4
LONGEST_SECONDS: Final = 60.0
STAND_BY_SECONDS: Final = 3.0

LEADER: Final = f"SELECT coalesce(max(pid), 0) FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK} AND granted"  # noqa: S608


def measure(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Kill each in turn."""
    del seconds
    figure = Figure("recovery after SIGKILL", "s", {})
    queue, both, leader = [], [], []
    for _ in range(rounds):
        queue.append(_kill_worker(ground, with_reconciler=False))
        both.append(_kill_worker(ground, with_reconciler=True))
        leader.append(_kill_leader(ground))
    figure.checks.append(Check("a worker's messages run again, by the queue alone", queue, 15, at_most=True, unit=" s"))
    figure.checks.append(Check("the same with the reconciler's sweep", both, 15, at_most=True, unit=" s"))
    figure.checks.append(Check("a stand-by reconciler leads", leader, 5, at_most=True, unit=" s"))
    return [figure]


def _kill_worker(ground: Ground, *, with_reconciler: bool) -> float:
    """Kill a worker whose actors wait for row locks, with as much fetched; another one is started at once."""
    from workers.__main__ import THREADS
    from workers.apply import send_apply

    ground.real.clear(MESSAGES)
    ids = fill_inbox(ground.real, MESSAGES)[:MESSAGES]
    crew = ground.crew()
    try:
        if with_reconciler:
            crew.start_one("reconciler")
        victim = crew.start_one("worker")
        with ground.real.connect() as blocker, blocker.transaction():
            blocker.execute("SELECT FROM payout FOR UPDATE")
            for each in ids:
                send_apply([each])
            wait_for(lambda: _blocked(ground) == THREADS, LONGEST_SECONDS, "the worker's hold on its messages")
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            killed_at = time.monotonic()
        crew.start_one("worker", instance="another worker")
        waiting = f"SELECT count(*) FROM inbox_new WHERE event_id <= {ids[-1]}"  # noqa: S608 (a number)
        wait_for(lambda: ground.real.number(waiting) == 0, LONGEST_SECONDS, "the messages' second run")
        return time.monotonic() - killed_at
    finally:
        crew.stop()


def _blocked(ground: Ground) -> int:
    with redis.Redis.from_url(ground.real.redis_url) as client:
        if client.llen("ratchet:apply"):
            return 0
    return ground.real.number("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


def _kill_leader(ground: Ground) -> float:
    crew = ground.crew()
    try:
        first = crew.start_one("reconciler")
        wait_for(lambda: ground.real.number(LEADER) != 0, LONGEST_SECONDS, "the first leader")
        led_by = ground.real.number(LEADER)
        crew.start_one("reconciler", instance="stand-by")
        time.sleep(STAND_BY_SECONDS)
        first.send_signal(signal.SIGKILL)
        first.wait()
        killed_at = time.monotonic()
        wait_for(lambda: ground.real.number(LEADER) not in (0, led_by), LONGEST_SECONDS, "the second leader")
        return time.monotonic() - killed_at
    finally:
        crew.stop()
