"""What claiming and pruning cost while a thousand endpoints are owed a hundred thousand deliveries, at any history.

The history is made of deliveries that are closed, each with its attempt, ten for every event. It is grown tenfold and
tenfold again under the same open deliveries. The planner's statistics are those from before anything was open, as they
are when a backlog comes about, and then fresh ones: neither may make a claim read the backlog or the history.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, text
from sqlmodel import Session

from benchmarks.ground import Ground
from benchmarks.place import Place
from benchmarks.plan import percentile
from benchmarks.tables import Check, Figure

ENDPOINTS: Final = 1_000
PAYOUTS_EACH: Final = 50
OPEN_EACH: Final = 2
"""Deliveries of each payout: the first is the head, the second waits behind it."""
HISTORY: Final = (20_000, 200_000, 2_000_000)
LOOKS: Final = 100
"""In a round, by the worker's own sizes: each is followed by the claims of what it has found."""
SWEEPS: Final = 8
PRUNES: Final = 5
LONGEST_CLAIM_MS: Final = 5.0
LONGEST_SWEEP_MS: Final = 50.0
LONGEST_PRUNE_MS: Final = 100.0
MOST_GROWTH: Final = 1.5

Found = TypeVar("Found")

_ENDPOINTS: Final = """
    INSERT INTO endpoint (id, organisation_id, url, description, is_enabled, sealed, created_at, updated_at)
    SELECT 'ep_' || lpad(to_hex(n), 28, '0'), e.organisation_id, e.url, '', true, e.sealed, now(), now()
    FROM generate_series(1, %s) n, (SELECT * FROM endpoint LIMIT 1) e
"""
_EVENTS: Final = """
    INSERT INTO payout_event
        (id, payout_id, organisation_id, test_mode, sequence, status, source, created_at, payload)
    SELECT 'evt_' || lpad(to_hex(n), 28, '0'), 'pay_' || lpad(to_hex(n / 2), 28, '0'), o.id, false, 1 + n %% 2,
        'initiated', 'webhook', now(), repeat('x', 400)
    FROM generate_series(%s::bigint, %s::bigint) n, (SELECT id FROM organisation LIMIT 1) o
"""
_CLOSED: Final = """
    INSERT INTO delivery (id, endpoint_id, payout_id, event_id, sequence, state, attempts, created_at, next_attempt_at,
        closed_at)
    SELECT 'dlv_' || lpad(to_hex(n), 28, '0'), 'ep_' || lpad(to_hex(1 + n %% %s), 28, '0'),
        'pay_' || lpad(to_hex(n / 20), 28, '0'), 'evt_' || lpad(to_hex(n / 10), 28, '0'), 1 + (n / 10) %% 2,
        'delivered', 1, now(), now(), now()
    FROM generate_series(%s::bigint, %s::bigint) n
"""
_ATTEMPTS: Final = """
    INSERT INTO attempt (delivery_id, number, started_at, duration_ms, outcome, status_code)
    SELECT 'dlv_' || lpad(to_hex(n), 28, '0'), 1, now(), 12, 'delivered', 204
    FROM generate_series(%s::bigint, %s::bigint) n
"""
_OPEN: Final = """
    INSERT INTO delivery (id, endpoint_id, payout_id, event_id, sequence, created_at, next_attempt_at)
    SELECT 'dlv_e' || lpad(to_hex(n), 27, '0'), 'ep_' || lpad(to_hex(1 + (n / 2) %% %s), 28, '0'),
        'pay_e' || lpad(to_hex(n / 2), 27, '0'), 'evt_' || lpad(to_hex(n %% 1000), 28, '0'), 1 + n %% 2, now(), now()
    FROM generate_series(0, %s - 1) n
"""
_AS_BEFORE: Final = "UPDATE delivery SET leased_until = NULL, attempts = 0 WHERE state = 'open' AND attempts > 0"


def measure(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Measure at each size of the history, all rounds of one size after the other."""
    from workers.deliver import LARGEST_CLAIM, LARGEST_LOOK

    del seconds
    _prepare(ground.real)
    of = "of 100,000 open deliveries of 1,000 endpoints"
    looks = Figure(f"a look at {LARGEST_LOOK} {of}, before they are claimed", "ms at p50", {})
    claims = Figure(f"a claim of {LARGEST_CLAIM}, {of}", "ms at p50", {})
    sweeps = Figure("a sweep of the same, once a second, that finds 5,000", "ms at p50", {})
    prunes = Figure("pruning 1,000 of the history", "ms at p50", {})
    for closed in HISTORY:
        _grow(ground.real, closed)
        for statistics in ("old statistics", "fresh statistics"):
            if statistics == "fresh statistics":
                _run(ground.real, "ANALYZE delivery, attempt, payout_event")
            name = f"{closed:,} closed, {statistics}"
            found = _looks_and_claims(ground.real, rounds)
            _add(looks, name, [looked for looked, _ in found], LONGEST_CLAIM_MS)
            _add(claims, name, [claimed for _, claimed in found], LONGEST_CLAIM_MS)
            _add(sweeps, name, _timed(_sweep(), SWEEPS, rounds), LONGEST_SWEEP_MS)
            claims.notes.append(_plans(name))
        for kind, step in _steps().items():
            _add(prunes, f"{kind}, of {closed:,} closed", _timed(step, PRUNES, rounds), LONGEST_PRUNE_MS)
        _run(ground.real, "DELETE FROM delivery WHERE state = 'open'", "VACUUM ANALYZE delivery, attempt, payout_event")
    _run(ground.real, "DELETE FROM endpoint WHERE id IN (SELECT endpoint_id FROM delivery)")
    ground.real.clear()
    for figure in (looks, claims, sweeps):
        first, *_, last = [median(values) for values in figure.values.values()]
        figure.checks.append(_bounded("100 times the history ÷ once", [last / first], MOST_GROWTH, unit=""))
    return [looks, claims, sweeps, prunes]


def _add(figure: Figure, name: str, rounds: list[list[float]], longest: float) -> None:
    figure.values = {**figure.values, name: [percentile(found, 0.5) for found in rounds]}
    figure.checks.append(_bounded(f"p99, {name}", [percentile(found, 0.99) for found in rounds], longest))


def _bounded(name: str, values: list[float], bound: float, *, unit: str = " ms") -> Check:
    return Check(name, values, bound, at_most=True, unit=unit)


def _prepare(place: Place) -> None:
    place.clear()
    with place.connect() as connection:
        connection.execute(_ENDPOINTS, [ENDPOINTS])
        connection.execute("ANALYZE endpoint")


def _grow(place: Place, closed: int) -> None:
    """Bring the history to so many closed deliveries, look at it, and then owe what is open."""
    with place.connect() as connection:
        start = place.number("SELECT count(*) FROM delivery")
        connection.execute(_EVENTS, [start // 10, closed // 10 - 1])
        connection.execute(_CLOSED, [ENDPOINTS, start, closed - 1])
        connection.execute(_ATTEMPTS, [start, closed - 1])
        connection.execute("VACUUM ANALYZE delivery, attempt, payout_event")
        connection.execute(_OPEN, [ENDPOINTS, ENDPOINTS * PAYOUTS_EACH * OPEN_EACH])
        connection.execute("CHECKPOINT")


def _run(place: Place, *statements: str) -> None:
    with place.connect() as connection:
        for statement in statements:
            connection.execute(statement)


def _timed(call: Callable[[], object], number: int, rounds: int) -> list[list[float]]:
    """Return how many milliseconds it took, each time of each round. The first of all finds cold caches."""
    call()
    return [[_milliseconds(call)[0] for _ in range(number)] for _ in range(rounds)]


def _milliseconds(call: Callable[[], Found]) -> tuple[float, Found]:
    started = time.monotonic()
    found = call()
    return (time.monotonic() - started) * 1_000, found


def _looks_and_claims(place: Place, rounds: int) -> list[tuple[list[float], list[float]]]:
    """Look and claim as a worker's office does, each a transaction with its commit. The ids are as scattered as can be.

    Returns, for each round, the milliseconds of the looks and of the claims.
    """
    from workers.deliver import LARGEST_LOOK

    with place.connect() as connection:
        found = connection.execute("SELECT id FROM delivery WHERE state = 'open' AND sequence = 1 ORDER BY md5(id)")
        ids = [row[0] for row in found]
    starts = range(0, (rounds * LOOKS + 1) * LARGEST_LOOK, LARGEST_LOOK)
    pages = [_look_and_claim(ids[start : start + LARGEST_LOOK]) for start in starts]
    _run(place, _AS_BEFORE)
    in_turn = [pages[1:][number * LOOKS : (number + 1) * LOOKS] for number in range(rounds)]
    return [([page[0] for page in one], [claim for page in one for claim in page[1:]]) for one in in_turn]


def _look_and_claim(ids: list[str]) -> list[float]:
    """Return the milliseconds of a look, and of each of the claims that follow."""
    from models.database import transaction
    from payouts.claiming import Due, look, take
    from workers.deliver import LARGEST_CLAIM

    def looks() -> list[Due]:
        with transaction() as session:
            return look(session, ids, datetime.now(UTC))

    def claims() -> None:
        with transaction() as session:
            claimed = take(session, few, datetime.now(UTC), lambda _: LARGEST_CLAIM).claimed
        if len(claimed) != len(few):
            raise RuntimeError(f"{len(claimed)} of {len(few)} claimed")

    milliseconds, due = _milliseconds(looks)
    found = [milliseconds]
    for first in range(0, len(due), LARGEST_CLAIM):
        few = due[first : first + LARGEST_CLAIM]
        found.append(_milliseconds(claims)[0])
    return found


def _sweep() -> Callable[[], object]:
    """Return a sweep. The first puts off what waits behind others."""
    from models.database import transaction
    from payouts.sweeping import sweep_due

    def run() -> None:
        with transaction() as session:
            sweep_due(session, datetime.now(UTC), 5_000)

    return run


def _steps() -> dict[str, Callable[[], None]]:
    """Return what prunes a thousand of each kind, and takes it back, so that every size keeps its history."""
    from models.database import engine
    from payouts import retention

    later = datetime.now(UTC) + timedelta(days=1)
    kinds: dict[str, Callable[[Session], object]] = {
        "attempts": lambda session: retention.prune_attempts(session, later),
        "bodies": lambda session: retention.prune_bodies(session, later, ""),
        "deliveries": lambda session: retention.prune_deliveries(session, later, ""),
    }

    def taken_back(step: Callable[[Session], object]) -> Callable[[], None]:
        def run() -> None:
            with Session(engine()) as session:
                step(session)
                session.rollback()

        return run

    return {kind: taken_back(step) for kind, step in kinds.items()}


def _plans(name: str) -> str:
    """Return how the statements of a claim and of a sweep were carried out. Nothing stays claimed."""
    from models.database import engine
    from payouts import claiming, sweeping
    from payouts.deliveries import LEASE
    from payouts.standing import as_json
    from workers.deliver import LARGEST_CLAIM, LARGEST_LOOK

    now = datetime.now(UTC)
    with engine().connect() as connection:
        heads = text("SELECT id FROM delivery WHERE state = 'open' AND sequence = 1 ORDER BY md5(id) DESC LIMIT :most")
        ids = [row[0] for row in connection.execute(heads, {"most": LARGEST_LOOK})]
        asked = {"ids": as_json(ids), "now": now}
        few = {"ids": as_json(ids[:LARGEST_CLAIM]), "now": now, "lease": now + LEASE, "admitted": "[]"}
        lines = [
            f"- look at {LARGEST_LOOK}: {_digest(connection, claiming.DUE_BY_ID.text, asked)}",
            f"- claim {LARGEST_CLAIM}: {_digest(connection, claiming.TAKE.text, few)}",
            f"- sweep: {_digest(connection, sweeping.SWEEP.text, {'now': now, 'most': 5_000})}",
        ]
        connection.rollback()
    return f"{name}:\n\n" + "\n".join(lines)


def _digest(connection: Connection, statement: str, asked: dict[str, Any]) -> str:
    """Return which tables a statement reads and how, with the rows it looked at and the pages it touched."""
    explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
    (plan,) = connection.execute(explain, asked).scalar_one()
    scans: dict[str, int] = {}
    for node in _nodes(plan["Plan"]):
        if relation := node.get("Relation Name"):
            how = f"{node['Node Type'].lower()} on {node.get('Index Name', relation)}"
            scans[how] = scans.get(how, 0) + round(node["Actual Rows"] * node["Actual Loops"])
        elif "Index Name" in node:
            how = f"{node['Node Type'].lower()} on {node['Index Name']}"
            scans[how] = scans.get(how, 0) + round(node["Actual Rows"] * node["Actual Loops"])
    pages = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    read = ", ".join(f"{how} ({rows} rows)" for how, rows in scans.items())
    return f"{plan['Execution Time']:.1f} ms, {pages} pages; {read}"


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
