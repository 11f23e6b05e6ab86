"""Attempts recorded a second, from open deliveries to `delivered` on record, through Dramatiq.

Each payout has one open delivery, so that every one of them may go at once.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.ground import Ground, wait_for
from benchmarks.place import Place
from benchmarks.tables import Figure

REAL_PER_SECOND: Final = 8_000
NAIVE_PER_SECOND: Final = 250
LONGEST_SECONDS: Final = 120.0

_EVENTS: Final = """
    INSERT INTO payout_event (
        id, payout_id, organisation_id, test_mode, sequence, previous_status, status, source, created_at, payload
    )
    SELECT 'evt_' || substr(id, 5), id, organisation_id, test_mode, 1, 'pending', 'initiated', 'webhook', now(),
        json_build_object(
        'type', 'payout.initiated', 'timestamp', now(), 'data', json_build_object(
            'id', id, 'reference', order_key, 'status', 'initiated', 'amount', '1000.50', 'currency', currency,
            'processed_amount', NULL, 'estimated_delivery_at', NULL, 'failure', NULL, 'test_mode', false,
            'created_at', created_at, 'previous_status', 'pending', 'sequence', 1))::text
    FROM payout
"""
_DELIVERIES: Final = """
    INSERT INTO delivery (id, endpoint_id, payout_id, event_id, sequence, created_at, next_attempt_at)
    SELECT 'dlv_' || substr(v.id, 5), e.id, v.payout_id, v.id, 1, now(), now() FROM payout_event v, endpoint e
"""


def measure(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Deliver a batch each, in turn."""
    from benchmarks.naive.client import send_naive_deliver
    from workers.deliver import send_deliver

    values: dict[str, list[float]] = {"ratchet": [], "requests.post and one ORM commit each": []}
    ground.naive.forget_queues()  # what an earlier figure left there would reach the sink among our own
    started = [
        ground.start("benchmarks.serve", "queue", "deliver"),
        ground.start("benchmarks.serve", "tasks", "naive-deliver", place=ground.naive),
    ]
    try:
        for _ in range(rounds):
            values["ratchet"].append(_run(ground, ground.real, int(REAL_PER_SECOND * seconds), send_deliver))
            send, number = send_naive_deliver(ground.naive), int(NAIVE_PER_SECOND * seconds)
            values["requests.post and one ORM commit each"].append(_run(ground, ground.naive, number, send))
    finally:
        ground.stop(*started)
    figure = Figure("deliver", "attempts recorded/s", values)
    figure.ratio("ratchet", "requests.post and one ORM commit each", 25)
    figure.notes.append("In every run the sink had each event exactly once, and each attempt was on record.")
    return [figure]


def _run(ground: Ground, place: Place, number: int, send: Callable[[Sequence[str]], None]) -> float:
    ids = _owe(place, number)
    ground.ask_sink("/forget")
    started = time.monotonic()
    send(ids)
    with place.connect() as connection:
        waiting = "SELECT EXISTS (SELECT FROM delivery WHERE state = 'open')"
        wait_for(lambda: connection.execute(waiting).fetchone() == (False,), LONGEST_SECONDS, "delivering")
        elapsed = time.monotonic() - started
    received, recorded = ground.ask_sink("/received"), place.number("SELECT count(*) FROM attempt")
    if not received["distinct"] == received["requests"] == recorded == number:
        raise RuntimeError(f"{number} deliveries: {recorded} attempts on record, the sink has {received}")
    return number / elapsed


def _owe(place: Place, number: int) -> list[str]:
    place.clear(number)
    with place.connect() as connection:
        for statement in (_EVENTS, _DELIVERIES, "VACUUM ANALYZE payout_event, delivery"):
            connection.execute(statement)
        return [row[0] for row in connection.execute("SELECT id FROM delivery ORDER BY id")]
