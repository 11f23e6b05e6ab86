"""Whether endpoints that hang slow those that do not: fifty, all owed the same, and none, one or ten of them hanging.

Measured is how many deliveries a second the others get on record, by a worker and a reconciler as the Procfile runs
them. An endpoint that hangs takes the connection and never answers, so each of its attempts lasts until its time-out.
"""

import time
from typing import Final

from benchmarks.ground import Ground, wait_for
from benchmarks.place import Place
from benchmarks.tables import Figure

ENDPOINTS: Final = 50
PER_SECOND: Final = 6_000
"""How much is owed for each second that is asked for."""
LONGEST_SECONDS: Final = 120.0
VARIANTS: Final = {"none hangs": 0, "one of 50 hangs": 1, "ten of 50 hang": 10}
LEAST_SHARE: Final = 0.9

_ENDPOINTS: Final = """
    INSERT INTO endpoint (id, organisation_id, url, description, is_enabled, sealed, created_at, updated_at)
    SELECT 'ep_' || %(run)s || '_' || n, e.organisation_id,
        CASE WHEN n <= %(hanging)s THEN replace(e.url, '/hooks', '/hang') ELSE e.url END, '', true, e.sealed,
        now(), now()
    FROM generate_series(1, %(endpoints)s) n, (SELECT * FROM endpoint WHERE id NOT LIKE 'ep\\_%%\\_%%' LIMIT 1) e
"""
_FORGET: Final = "DELETE FROM endpoint WHERE id LIKE 'ep\\_%\\_%'"
_OWE: Final = """
    WITH event AS (
        INSERT INTO payout_event
            (id, payout_id, organisation_id, test_mode, sequence, status, source, created_at, payload)
        SELECT 'evt_' || n, 'pay_' || n, o.id, false, 1, 'initiated', 'webhook', now(), repeat('x', 400)
        FROM generate_series(1, %(each)s) n, (SELECT id FROM organisation LIMIT 1) o RETURNING id, payout_id
    )
    INSERT INTO delivery (id, endpoint_id, payout_id, event_id, sequence, created_at, next_attempt_at)
    SELECT 'dlv_' || substr(e.id, 5) || '_' || n, 'ep_' || %(run)s || '_' || n, e.payout_id, e.id, 1, now(), now()
    FROM event e, generate_series(1, %(endpoints)s) n
"""
_WAITING: Final = """
    SELECT EXISTS (SELECT FROM delivery d JOIN endpoint p ON p.id = d.endpoint_id AND p.url NOT LIKE '%%/hang'
        WHERE d.state = 'open')
"""


def measure(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Deliver the same to as many endpoints, in turn."""
    each = max(1, int(PER_SECOND * seconds) // ENDPOINTS)
    values: dict[str, list[float]] = {name: [] for name in VARIANTS}
    run = 0
    for _ in range(rounds):
        for name, hanging in VARIANTS.items():
            run += 1
            values[name].append(_run(ground, run, hanging, each))
    with ground.real.connect() as connection:
        connection.execute(_FORGET)
    figure = Figure("fairness", "deliveries/s to those that do not hang", _for_as_many(values))
    for name in list(VARIANTS)[1:]:
        figure.ratio(name, "none hangs", LEAST_SHARE)
    figure.notes.append(
        "Each row counts the endpoints that do not hang, scaled to fifty; a worker of its own each time."
    )
    return [figure]


def _for_as_many(values: dict[str, list[float]]) -> dict[str, list[float]]:
    return {
        name: [value * ENDPOINTS / (ENDPOINTS - VARIANTS[name]) for value in found] for name, found in values.items()
    }


def _run(ground: Ground, run: int, hanging: int, each: int) -> float:
    """Return how many deliveries a second the others have got."""
    from workers.deliver import send_deliver

    ids = _owe(ground.real, run, hanging, each)
    crew = ground.crew()
    try:
        worker = crew.start_one("worker")
        crew.start_one("reconciler")
        send_deliver(ids[:ENDPOINTS])  # one each, so that everything has started before the clock does
        with ground.real.connect() as connection:
            wait_for(lambda: _number_delivered(ground.real) >= ENDPOINTS - hanging, LONGEST_SECONDS, "the first")
            before, started = _number_delivered(ground.real), time.monotonic()
            send_deliver(ids[ENDPOINTS:])
            done = lambda: connection.execute(_WAITING).fetchone() == (False,)  # noqa: E731
            wait_for(done, LONGEST_SECONDS, "delivering to those that do not hang")
            elapsed = time.monotonic() - started
        worker.kill()
        worker.wait()
        return (each * (ENDPOINTS - hanging) - before) / elapsed
    finally:
        crew.stop()


def _number_delivered(place: Place) -> int:
    return place.number("SELECT count(*) FROM delivery WHERE state = 'delivered'")


def _owe(place: Place, run: int, hanging: int, each: int) -> list[str]:
    place.clear()
    asked = {"run": run, "hanging": hanging, "endpoints": ENDPOINTS, "each": each}
    with place.connect() as connection:
        connection.execute(_FORGET)
        connection.execute(_ENDPOINTS, asked)
        connection.execute(_OWE, asked)
        connection.execute("VACUUM ANALYZE payout_event, delivery, endpoint")
        return [row[0] for row in connection.execute("SELECT id FROM delivery ORDER BY event_id, endpoint_id")]
