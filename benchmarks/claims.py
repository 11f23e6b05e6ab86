"""What claiming and pruning cost while a thousand endpoints are owed a hundred thousand deliveries, at any history.

The history is made of deliveries that are closed, each with its attempt, ten for every event. It is grown tenfold and
tenfold again under the same open deliveries. The planner's statistics are those from before anything was open, as they
are when a backlog comes about, and then fresh ones: neither may make a claim read the backlog or the history.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from sqlalchemy import text
from sqlmodel import Session

from benchmarks.backlog import AS_BEFORE, grow, prepare
from benchmarks.digest import digest
from benchmarks.ground import Ground
from benchmarks.place import Place
from benchmarks.plan import percentile
from benchmarks.tables import Check, Figure

HISTORY: Final = (20_000, 200_000, 2_000_000)
LOOKS: Final = 200
"""In a round, by the worker's own sizes: each is followed by the claims of what it has found. Fewer have no p99."""
MOST_ROUNDS: Final = 3
"""For which there are heads enough."""
SWEEPS: Final = 8
PRUNES: Final = 5
LONGEST_CLAIM_MS: Final = 5.0
LONGEST_SWEEP_MS: Final = 100.0
LONGEST_PRUNE_MS: Final = 100.0
MOST_GROWTH: Final = 1.5

Found = TypeVar("Found")

_NOTHING: Final = text("SELECT 1")


def measure(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Measure at each size of the history, all rounds of one size after the other."""
    from workers.deliver import LARGEST_CLAIM, LARGEST_LOOK

    del seconds
    prepare(ground.real)
    of = "of 100,000 open deliveries of 1,000 endpoints"
    looks = Figure(f"a look at {LARGEST_LOOK} {of}, before they are claimed", "ms at p50", {})
    claims = Figure(f"a claim of {LARGEST_CLAIM}, {of}", "ms at p50", {})
    sweeps = Figure("a sweep of the same, once a second, that finds 5,000", "ms at p50", {})
    prunes = Figure("pruning 1,000 of the history", "ms at p50", {})
    pages: dict[str, list[int]] = {}
    for closed in HISTORY:
        grow(ground.real, closed)
        for statistics in ("old statistics", "fresh statistics"):
            if statistics == "fresh statistics":
                _run(ground.real, "ANALYZE delivery, attempt, payout_event")
            name = f"{closed:,} closed, {statistics}"
            found = _looks_and_claims(ground.real, min(rounds, MOST_ROUNDS))
            _add(looks, name, [looked for looked, _, _ in found], LONGEST_CLAIM_MS)
            _add(claims, name, [claimed for _, claimed, _ in found], LONGEST_CLAIM_MS)
            nothing = sorted(each for _, _, nothings in found for each in nothings)
            looks.notes.append(
                f"{name}: meanwhile a transaction that asks for nothing took {percentile(nothing, 0.5):.2f} ms at p50"
                f" and {percentile(nothing, 0.99):.2f} ms at p99."
            )
            _add(sweeps, name, _timed(_sweep(), SWEEPS, rounds), LONGEST_SWEEP_MS)
            for figure, (plan, touched) in zip((looks, claims, sweeps), _plans(), strict=True):
                figure.notes.append(f"{name}: {plan}.")
                pages.setdefault(figure.title, []).append(touched)
        for kind, step in _steps().items():
            _add(prunes, f"{kind}, of {closed:,} closed", _timed(step, PRUNES, rounds), LONGEST_PRUNE_MS)
        _run(ground.real, "DELETE FROM delivery WHERE state = 'open'", "VACUUM ANALYZE delivery, attempt, payout_event")
    _run(ground.real, "DELETE FROM endpoint WHERE id IN (SELECT endpoint_id FROM delivery)")
    ground.real.clear()
    for figure in (looks, claims, sweeps):
        first, *_, last = pages[figure.title]
        figure.checks.append(
            _bounded("pages touched, 100 times the history ÷ once", [last / first], MOST_GROWTH, unit="")
        )
    return [looks, claims, sweeps, prunes]


def _add(figure: Figure, name: str, rounds: list[list[float]], longest: float) -> None:
    figure.values = {**figure.values, name: [percentile(found, 0.5) for found in rounds]}
    figure.checks.append(_bounded(f"p99, {name}", [percentile(found, 0.99) for found in rounds], longest))


def _bounded(name: str, values: list[float], bound: float, *, unit: str = " ms") -> Check:
    return Check(name, values, bound, at_most=True, unit=unit)


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


def _looks_and_claims(place: Place, rounds: int) -> list[tuple[list[float], list[float], list[float]]]:
    """Look and claim as a worker's office does, each a transaction with its commit. The ids are as scattered as can be.

    Returns, for each round, the milliseconds of the looks, of the claims, and of as many transactions as looks that
    ask for nothing: what the machine does to any of them.
    """
    from workers.deliver import LARGEST_LOOK

    with place.connect() as connection:
        found = connection.execute("SELECT id FROM delivery WHERE state = 'open' AND sequence = 1 ORDER BY md5(id)")
        ids = [row[0] for row in found]
    starts = range(0, (rounds * LOOKS + 1) * LARGEST_LOOK, LARGEST_LOOK)
    pages = [_look_and_claim(ids[start : start + LARGEST_LOOK]) for start in starts]
    _run(place, AS_BEFORE)
    in_turn = [pages[1:][number * LOOKS : (number + 1) * LOOKS] for number in range(rounds)]
    return [
        ([look for look, _, _ in one], [each for _, claims, _ in one for each in claims], [idle for _, _, idle in one])
        for one in in_turn
    ]


def _look_and_claim(ids: list[str]) -> tuple[float, list[float], float]:
    """Return the milliseconds of a look, of each of the claims that follow, and of a transaction that does nothing."""
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

    def nothing() -> None:
        with transaction() as session:
            session.connection().execute(_NOTHING)

    milliseconds, due = _milliseconds(looks)
    found = []
    for first in range(0, len(due), LARGEST_CLAIM):
        few = due[first : first + LARGEST_CLAIM]
        found.append(_milliseconds(claims)[0])
    return milliseconds, found, _milliseconds(nothing)[0]


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


def _plans() -> list[tuple[str, int]]:
    """Return how a look, a claim and a sweep were carried out, and the pages they touched. Nothing stays claimed."""
    from models.database import engine
    from models.rows import as_json
    from payouts import claiming, sweeping
    from payouts.deliveries import LEASE
    from workers.deliver import LARGEST_CLAIM, LARGEST_LOOK

    now = datetime.now(UTC)
    heads = text("SELECT id FROM delivery WHERE state = 'open' AND sequence = 1 ORDER BY md5(id) DESC LIMIT :most")
    with engine().connect() as connection:
        ids = [row[0] for row in connection.execute(heads, {"most": LARGEST_LOOK})]
        few = {"ids": as_json(ids[:LARGEST_CLAIM]), "now": now, "lease": now + LEASE, "admitted": "[]"}
        found = [
            digest(connection, claiming.LOOK.statement, {"ids": as_json(ids), "now": now}),
            digest(connection, claiming.TAKE.statement, few),
            digest(connection, sweeping.SWEEP.text, {"now": now, "most": 5_000}),
        ]
        connection.rollback()
    return found
