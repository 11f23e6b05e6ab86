"""Gateway's POST to partner's receipt with every process of the Procfile: sustained rate, latency, memory.

Accepted, applied and delivered are counted and must agree. Nothing is pinned: the processes, PostgreSQL, Redis, the
load generator and the sink share the machine.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psutil  # type: ignore[import-untyped]

from benchmarks.ground import Ground, is_open, wait_for
from benchmarks.place import Place
from benchmarks.plan import Outcome, percentile
from benchmarks.tables import Check, Figure
from benchmarks.traffic import WORDS, webhooks
from embedded.crew import Crew

CONNECTIONS: Final = 64
REAL_PAYOUTS_PER_SECOND: Final = 5_000
NAIVE_PAYOUTS: Final = 400
DRAIN_SECONDS: Final = 60.0
LATENCY_RATE: Final = 20.0
LATENCY_SECONDS: Final = 30.0
LATENCY_CONNECTIONS: Final = 8
MEMORY_STEPS: Final = 5
MEMORY_STEP_PAYOUTS: Final = 6_668
"""Three webhooks each: five steps are 100,020."""


@contextmanager
def everybody(ground: Ground) -> Iterator[Crew]:
    """Run every process of the Procfile."""
    crew = ground.crew()
    ground.real.clear()
    crew.start()
    try:
        wait_for(lambda: is_open(ground.ports["receiver"]), 30, "the receiver")
        time.sleep(2)  # the reconciler contests twice a second; the worker has no port to wait for
        yield crew
    finally:
        crew.stop()


def measure(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Let Ratchet, the naive way and the bare endpoint take turns."""
    values: dict[str, list[float]] = {"ratchet": [], "naive": [], "bare": []}
    acknowledged: list[float] = []
    ports = ground.ports
    ground.naive.clear()  # what an earlier figure left in its queue would reach the sink among our own
    with everybody(ground):
        started = [
            ground.start("benchmarks.serve", "bare", str(ports["bare"]), port=ports["bare"]),
            ground.start("benchmarks.serve", "sending", str(ports["naive"]), place=ground.naive, port=ports["naive"]),
            ground.start("benchmarks.serve", "tasks", place=ground.naive),
        ]
        try:
            payouts = int(REAL_PAYOUTS_PER_SECOND * seconds)
            for _ in range(rounds + 1):
                rate, outcome = through(ground, ground.real, "receiver", payouts, seconds)
                values["ratchet"].append(rate)
                acknowledged.append(outcome.p99_ms)
                values["naive"].append(through(ground, ground.naive, "naive", NAIVE_PAYOUTS, seconds)[0])
                values["bare"].append(_bare(ground, payouts, seconds))
        finally:
            ground.stop(*started)
    # The first round made what a server that runs has long had: log files to use again, connections, statements.
    figure = Figure("story", "events/s, POST to receipt", {name: rates[1:] for name, rates in values.items()})
    figure.ratio("ratchet", "naive", 30)
    figure.ratio("ratchet", "bare", 0.20)
    figure.notes.append("In every run accepted = applied, and the partner had each event exactly once.")
    figure.notes.append(f"Acknowledged meanwhile: p99 {percentile(acknowledged[1:], 0.5):.0f} ms.")
    return [figure]


def _bare(ground: Ground, payouts: int, seconds: float) -> float:
    return ground.load(ground.ports["bare"], ground.write(payouts), seconds, connections=CONNECTIONS).rate


def through(ground: Ground, place: Place, server: str, payouts: int, seconds: float) -> tuple[float, Outcome]:
    """Send for so many seconds, wait until the partner has everything, and return events a second."""
    place.clear(payouts)
    ground.ask_sink("/forget")
    outcome = ground.load(ground.ports[server], ground.write(payouts), seconds, connections=CONNECTIONS)
    wait_over(place)
    received = ground.ask_sink("/received")
    _check_counts(place, outcome, received)
    return outcome.accepted / (received["last_at"] - outcome.started_at), outcome


def wait_over(place: Place) -> None:
    """Wait until everything in the inbox is applied and nothing is owed to anybody."""
    with place.connect() as connection:
        no_more = f"NOT EXISTS ({place.new}) AND NOT EXISTS (SELECT FROM delivery WHERE state = 'open')"
        over = f"SELECT {no_more}"
        wait_for(lambda: connection.execute(over).fetchone() == (True,), DRAIN_SECONDS, "the end of all work")


def _check_counts(place: Place, outcome: Outcome, received: dict[str, float]) -> None:
    """Two batches applied at once may take a payout's steps in another order: then the earlier step is stale news."""
    applied = place.number(f"SELECT count(*) FROM ({place.applied}) AS applied")  # noqa: S608 (a query of our own)
    stale = place.number("SELECT count(*) FROM observation WHERE effect = 'stale'")
    events = place.number("SELECT count(*) FROM payout_event")
    if outcome.refused or not outcome.accepted == applied == events + stale:
        raise RuntimeError(f"{outcome.accepted} accepted, {applied} applied, {events} events, {stale} stale")
    if not events == received["distinct"] == received["requests"]:
        raise RuntimeError(f"{events} events, received: {received}")


def latency(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Measure POST to receipt at a calm, fixed rate, for at least half a minute."""
    del rounds
    seconds = max(LATENCY_SECONDS, seconds)
    with everybody(ground):
        through(ground, ground.real, "receiver", 3_000, 1.0)  # everything loaded and connected
        payouts = int(LATENCY_RATE * seconds / len(WORDS)) + 1
        ground.real.clear(payouts)
        ground.ask_sink("/forget")
        outcome = ground.load(
            ground.ports["receiver"], ground.write(payouts), seconds,
            connections=LATENCY_CONNECTIONS, rate=LATENCY_RATE, keep_times=True,
        )  # fmt: skip
        wait_over(ground.real)
    figure = Figure(f"latency at {LATENCY_RATE:g} webhooks/s, POST to receipt", "", {})
    delays = sorted(_delays(ground, payouts, outcome))
    for share, bound in ((0.50, 15), (0.99, 50)):
        figure.checks.append(
            Check(f"p{share * 100:.0f}", [percentile(delays, share) * 1000], bound, at_most=True, unit=" ms")
        )
    figure.notes.append(
        f"{len(delays)} samples, the longest {delays[-1] * 1000:.1f} ms;"
        f" acknowledged in {outcome.p50_ms:.1f} ms (p50) and {outcome.p99_ms:.1f} ms (p99)."
    )
    return [figure]


def _delays(ground: Ground, payouts: int, outcome: Outcome) -> list[float]:
    """Match what was sent with what was received, by what the event says."""
    times = ground.ask_sink("/times")
    query = "SELECT p.order_key, e.status, e.id FROM payout_event e JOIN payout p ON p.id = e.payout_id"
    with ground.real.connect() as connection:
        received = {(order_key, status): times[event] for order_key, status, event in connection.execute(query)}
    sent = zip(webhooks(payouts), outcome.sent_at, strict=False)
    return [received[webhook.key] - sent_at for webhook, sent_at in sent]


def memory(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Send 100,000 webhooks through the story and read every process's resident memory on the way."""
    del rounds, seconds
    with everybody(ground) as crew:
        payouts = MEMORY_STEP_PAYOUTS * MEMORY_STEPS
        ground.real.clear(payouts)
        ground.ask_sink("/forget")
        sizes: dict[str, list[float]] = {name: [] for name in crew.running}
        rates = []
        for step in range(MEMORY_STEPS):
            rates.append(_step(ground, step))
            for name, process in crew.running.items():
                sizes[name].append(psutil.Process(process.pid).memory_info().rss / 2**20)
    figure = Figure("memory over 100,000 webhooks", "MiB", sizes)
    for name, found in sizes.items():
        figure.checks.append(Check(f"{name} at the end", found[-1:], 200, at_most=True, unit=" MiB"))
        figure.notes.append(f"{name} after each 20,000: {', '.join(f'{size:.0f}' for size in found)} MiB.")
    figure.notes.append(f"Events a second in each 20,000: {', '.join(f'{rate:,.0f}' for rate in rates)}.")
    return [figure]


def _step(ground: Ground, step: int) -> float:
    number = MEMORY_STEP_PAYOUTS * len(WORDS)
    requests = ground.write(MEMORY_STEP_PAYOUTS, MEMORY_STEP_PAYOUTS * step)
    outcome = ground.load(ground.ports["receiver"], requests, DRAIN_SECONDS, connections=CONNECTIONS)
    wait_over(ground.real)
    if outcome.accepted != number:
        raise RuntimeError(f"{outcome.accepted} of {number} webhooks were accepted")
    return outcome.accepted / (ground.ask_sink("/received")["last_at"] - outcome.started_at)
