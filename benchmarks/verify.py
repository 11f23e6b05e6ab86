"""Verifications a second for every signature scheme, and what share of the receiver's work each of them is.

Each scheme goes through its connector's `verify`, on the receiver's core, counted in processor time. Its share is of
all that the receiver's process does for one webhook: its processor time, the kernel's for it included, in a saturated
ingest run of the same round. PostgreSQL and Redis work for the webhook too, in processes of their own; leaving them
out makes the share the larger one.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import median
from typing import Final

import psutil  # type: ignore[import-untyped]

from benchmarks.ground import Ground, is_open, pin, wait_for
from benchmarks.ingest import OTHER_CORE, PAYOUTS_PER_SECOND, SERVER_CORE
from benchmarks.schemes import Scheme, private_key, shared_secret
from benchmarks.tables import Check, Figure

CONNECTIONS: Final = 256
LARGEST_SHARE: Final = 10.0
"""Percent of the receiver's work per webhook that verifying a shared secret may be."""
SLICE_SECONDS: Final = 0.02
SLICES: Final = 10
"""Each scheme is timed in slices, of which the middle one counts: other work slows the receiver down as well."""
WORK: Final = "the receiver, all of it"
TRAFFIC: Final = "paycore"
"""The scheme of the webhooks that the receiver is measured with."""


def measure(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Measure the receiver and every scheme in turn."""
    shared, private = shared_secret(time.time()), private_key(time.time())
    work: list[float] = []
    micros: dict[str, list[float]] = {scheme.name: [] for scheme in (*shared, *private)}
    for _ in range(rounds):
        work.append(_work(ground, seconds))
        with _on(SERVER_CORE):
            for scheme in (*shared, *private):
                micros[scheme.name].append(_micros(scheme))
    rates = {WORK: work, **micros}
    figure = Figure("verify", "per second", {name: [1e6 / each for each in found] for name, found in rates.items()})
    for scheme in shared:
        rest = [whole - own for whole, own in zip(work, micros[TRAFFIC], strict=True)]
        shares = [100 * own / (other + own) for own, other in zip(micros[scheme.name], rest, strict=True)]
        name = f"{scheme.name}, of the receiver's work"
        figure.checks.append(Check(name, shares, LARGEST_SHARE, at_most=True, unit=" %"))
    figure.notes.append(
        f"One webhook costs the receiver {min(work):.0f} µs of processor time and more; PayCore's verification in it is"
        " replaced by that of the scheme. Asymmetric schemes are shown and have no bound."
    )
    return [figure]


def _work(ground: Ground, seconds: float) -> float:
    """Return the receiver's processor time per webhook, in microseconds, while it has as much to do as it can."""
    crew = ground.crew()
    receiver = crew.start_one("receiver")
    pin(receiver, SERVER_CORE)
    try:
        wait_for(lambda: is_open(ground.ports["receiver"]), 30, "the receiver")
        for server in ground.servers():
            pin(server, OTHER_CORE)
        ground.real.clear()
        before = _processor_seconds(receiver.pid)
        requests = ground.write(int(PAYOUTS_PER_SECOND * seconds))
        outcome = ground.load(ground.ports["receiver"], requests, seconds, core=OTHER_CORE, connections=CONNECTIONS)
        if outcome.refused or outcome.lost:
            raise RuntimeError(f"{outcome.refused} refused, {outcome.lost} lost of {outcome.sent}")
        return (_processor_seconds(receiver.pid) - before) / outcome.accepted * 1e6
    finally:
        for server in ground.servers():
            pin(server, None)
        crew.stop()


def _processor_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _micros(scheme: Scheme) -> float:
    """Return the processor time of one verification in microseconds."""
    now = datetime.now(UTC)
    scheme.verify(now)
    number = 1
    while _timed(scheme, now, number) < SLICE_SECONDS:
        number *= 2
    return median(_timed(scheme, now, number) for _ in range(SLICES)) / number * 1e6


def _timed(scheme: Scheme, now: datetime, number: int) -> float:
    started = time.process_time()
    for _ in range(number):
        scheme.verify(now)
    return time.process_time() - started


@contextmanager
def _on(core: int) -> Iterator[None]:
    """Keep this process on one core."""
    before = os.sched_getaffinity(0)
    if core in before:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
