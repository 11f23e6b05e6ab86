"""Webhooks a second that are verified, durably stored and deduplicated, against an endpoint that does nothing at all.

The receiver runs as its Procfile line says and has core 0 to itself, as each variant has in its turn; the load
generator, PostgreSQL and Redis share core 1. No worker runs: what applying costs is the story's figure.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.ground import Ground, is_open, pin, wait_for
from benchmarks.plan import Outcome
from benchmarks.tables import Check, Figure

PAYOUTS_PER_SECOND: Final = 12_000
"""Three requests each: more than any variant answers in one measurement."""
SERVER_CORE: Final = 0
OTHER_CORE: Final = 1
OPEN_LOOP_SHARE: Final = 0.5


def measure(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Measure at 64 and at 256 connections."""
    with _servers(ground):
        return [_measure(ground, seconds, rounds, connections) for connections in (64, 256)]


@contextmanager
def _servers(ground: Ground) -> Iterator[None]:
    crew = ground.crew()
    pin(crew.start_one("receiver"), SERVER_CORE)
    ports = ground.ports
    started = [
        ground.start("benchmarks.serve", "bare", str(ports["bare"]), port=ports["bare"], core=SERVER_CORE),
        ground.start(
            "benchmarks.serve",
            "storing",
            str(ports["naive"]),
            place=ground.naive,
            port=ports["naive"],
            core=SERVER_CORE,
        ),
    ]
    try:
        wait_for(lambda: is_open(ports["receiver"]), 30, "the receiver")
        for server in ground.servers():
            pin(server, OTHER_CORE)
        yield
    finally:
        for server in ground.servers():
            pin(server, None)
        crew.stop()
        ground.stop(*started)


def _measure(ground: Ground, seconds: float, rounds: int, connections: int) -> Figure:
    values: dict[str, list[float]] = {"ratchet": [], "bare": [], "one commit per request": []}
    p99: list[float] = []
    ports = {"ratchet": "receiver", "bare": "bare", "one commit per request": "naive"}
    for _ in range(rounds):
        ground.real.clear()
        ground.naive.clear()
        for variant, port in ports.items():
            outcome = _load(ground, port, seconds, connections=connections)
            values[variant].append(outcome.rate)
            if variant == "ratchet":
                _check_stored(ground, outcome)
        ground.real.clear()
        rate = values["ratchet"][-1] * OPEN_LOOP_SHARE
        p99.append(_load(ground, "receiver", seconds, connections=connections, rate=rate).p99_ms)
    figure = Figure(f"ingest, {connections} connections", "webhooks/s", values)
    figure.ratio("ratchet", "bare", 0.70)
    figure.ratio("ratchet", "one commit per request", 10)
    figure.checks.append(Check("ratchet's p99 at half of that rate, open loop", p99, 50, at_most=True, unit=" ms"))
    figure.notes.append(_ceiling(ground, seconds, connections))
    return figure


def _load(ground: Ground, server: str, seconds: float, **more: float) -> Outcome:
    outcome = ground.load(
        ground.ports[server], ground.write(int(PAYOUTS_PER_SECOND * seconds)), seconds, core=OTHER_CORE, **more
    )
    if outcome.refused or outcome.lost:
        raise RuntimeError(f"{server}: {outcome.refused} refused, {outcome.lost} lost of {outcome.sent}")
    return outcome


def _check_stored(ground: Ground, outcome: Outcome) -> None:
    stored = ground.real.number("SELECT count(*) FROM inbox_event")
    if stored != outcome.accepted:
        raise RuntimeError(f"{outcome.accepted} were answered 200 and {stored} are stored")


def _ceiling(ground: Ground, seconds: float, connections: int) -> str:
    pin(ground.sink, SERVER_CORE)
    rate = _load(ground, "sink", seconds, connections=connections).rate
    ground.ask_sink("/forget")
    pin(ground.sink, None)
    return f"Generator's ceiling (against the sink on core {SERVER_CORE}): {rate:,.0f} requests/s."
