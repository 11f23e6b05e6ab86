"""Whether endpoints that hang slow those that do not: 49 that are owed the same each time, alone and beside some more.

Measured is how many deliveries a second the 49 get on record, by a worker and a reconciler as the Procfile runs them.
An endpoint that hangs takes the connection and never answers, so each of its attempts lasts until its time-out. It is
owed as much as each of the others.
"""

import time
from typing import Final

from benchmarks.ground import Ground, wait_for
from benchmarks.place import Place
from benchmarks.recovery import LEADER
from benchmarks.tables import Figure

ENDPOINTS: Final = 49
PER_SECOND: Final = 8_000
"""How much is owed to them for each second that is asked for."""
LONGEST_SECONDS: Final = 120.0
VARIANTS: Final = {"49 alone": 0, "one more that hangs": 1, "ten more that hang": 10}
LEAST_SHARES: Final = {"one more that hangs": 0.9, "ten more that hang": 0.75}
"""Ten bring a fifth more to look at, and hold a third of the places in flight."""

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
_DELIVERED: Final = "SELECT count(*) FROM delivery WHERE state = 'delivered'"
_RECORDED: Final = "SELECT coalesce(max(id), 0) FROM attempt"
"""The end of an index. Whoever looks for what is open a hundred times a second slows what is measured."""


def measure(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Deliver the same to the same number, in turn; every other round begins at the other end."""
    each = max(1, int(PER_SECOND * seconds) // ENDPOINTS)
    values: dict[str, list[float]] = {name: [] for name in VARIANTS}
    run = 0
    for number in range(rounds):
        for name in sorted(VARIANTS, key=lambda name: VARIANTS[name] * (-1) ** number):
            run += 1
            values[name].append(_run(ground, run, VARIANTS[name], each))
    with ground.real.connect() as connection:
        connection.execute(_FORGET)
    figure = Figure("fairness", "deliveries/s to 49 that do not hang", values)
    for name, least in LEAST_SHARES.items():
        figure.ratio(name, "49 alone", least)
    figure.notes.append("A worker of its own each time; the clock starts when it has delivered to each of the 49.")
    return [figure]


def _run(ground: Ground, run: int, hanging: int, each: int) -> float:
    """Return how many deliveries a second the others have got."""
    from workers.deliver import send_deliver

    ids = _owe(ground.real, run, hanging, each)
    crew = ground.crew()
    try:
        worker = crew.start_one("worker")
        crew.start_one("reconciler")
        send_deliver(ids[: ENDPOINTS + hanging])  # one each, so that everything has started before the clock does
        with ground.real.connect() as connection:

            def number(asked: str) -> int:
                return int(connection.execute(asked).fetchone()[0])  # type: ignore[index]

            wait_for(lambda: number(LEADER) != 0, LONGEST_SECONDS, "the reconciler")
            wait_for(lambda: number(_DELIVERED) >= ENDPOINTS, LONGEST_SECONDS, "the first")
            owed, recorded, started = each * ENDPOINTS - number(_DELIVERED), number(_RECORDED), time.monotonic()
            send_deliver(ids[ENDPOINTS + hanging :])
            wait_for(lambda: number(_RECORDED) - recorded >= owed, LONGEST_SECONDS, "the attempts")
            wait_for(lambda: number(_DELIVERED) >= each * ENDPOINTS, LONGEST_SECONDS, "delivering to all that answer")
            elapsed = time.monotonic() - started
        worker.kill()
        worker.wait()
        return owed / elapsed
    finally:
        crew.stop()


def _owe(place: Place, run: int, hanging: int, each: int) -> list[str]:
    place.clear()
    asked = {"run": run, "hanging": hanging, "endpoints": ENDPOINTS + hanging, "each": each}
    with place.connect() as connection:
        connection.execute(_FORGET)
        connection.execute(_ENDPOINTS, asked)
        connection.execute(_OWE, asked)
        connection.execute("VACUUM ANALYZE payout_event, delivery, endpoint")
        return [row[0] for row in connection.execute("SELECT id FROM delivery ORDER BY event_id, endpoint_id")]
