"""The load generator, a process of its own (`python -m benchmarks.load PLAN`): raw HTTP/1.1 protocols on uvloop.

Requests are made beforehand and only written here, so that this costs a fraction of what any server does. Closed loop:
each connection sends its next request when it has its answer. Open loop: requests leave at a fixed rate whatever the
answers do, and latency counts from when a request was due, so a stalled server cannot hide the ones it held up.
"""

import asyncio
import gc
import json
import os
import re
import sys
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.plan import Outcome, Plan, percentile, read_requests

DRAIN_SECONDS: Final = 15.0
"""How long answers are waited for after the last request."""
TICK_SECONDS: Final = 0.001
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class _Connection(asyncio.Protocol):
    """One kept connection with at most one request under way."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._received = b""
        self.due_at: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def send(self, request: bytes, due_at: float) -> None:
        self.due_at = due_at
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0 or len(received) < end + 4 + _body_length(received[:end]):
            self._received = received
            return
        self._received = b""
        due_at, self.due_at = self.due_at, None
        if due_at is not None:
            self._load.answered(self, due_at, accepted=received[9:10] == b"2")

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._load.lost(self)

    def close(self) -> None:
        self._transport.close()


def _body_length(head: bytes) -> int:
    found = _LENGTH.search(head)
    return int(found.group(1)) if found else 0


class Load:
    """One run of one plan."""

    def __init__(self, plan: Plan, requests: list[bytes]) -> None:
        """Send nothing yet."""
        self.plan = plan
        self.outcome = Outcome()
        self._requests = requests
        self._next = plan.first
        self._free: deque[_Connection] = deque()
        self._under_way = 0
        self._latencies: list[float] = []
        self._over = asyncio.Event()
        self._closes_at = 0.0

    async def run(self) -> Outcome:
        """Connect, send until the time or the requests are up, wait for the last answers."""
        loop = asyncio.get_running_loop()
        ports = (self.plan.port, self.plan.second_port or self.plan.port)
        for number in range(self.plan.connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", ports[number % 2])
            self._free.append(connection)
        connections = list(self._free)
        self.outcome.started_at = time.monotonic()
        self._closes_at = self.outcome.started_at + self.plan.seconds
        await (self._send_at_rate(self.plan.rate) if self.plan.rate else self._send_in_turn())
        self.outcome.ended_at = self.outcome.ended_at or time.monotonic()
        for connection in connections:
            connection.close()
        return self._summed_up()

    async def _send_in_turn(self) -> None:
        while self._free and self._may_send():
            self._send(self._free.popleft(), time.monotonic())
        await self._all_answered(self.plan.seconds)

    async def _send_at_rate(self, rate: float) -> None:
        start, waiting, due = self.outcome.started_at, deque[float](), 0
        total = min(int(self.plan.seconds * rate), len(self._requests) - self.plan.first)
        while due < total or waiting:
            now = time.monotonic()
            while due < total and start + due / rate <= now:
                waiting.append(start + due / rate)
                due += 1
            while waiting and self._free:
                self._send(self._free.popleft(), waiting.popleft())
            if now > self._closes_at + DRAIN_SECONDS:
                break
            await asyncio.sleep(TICK_SECONDS)
        await self._all_answered(0)

    async def _all_answered(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds + DRAIN_SECONDS):
                while self._under_way:
                    self._over.clear()
                    await self._over.wait()
        except TimeoutError:
            self.outcome.lost += self._under_way

    def _may_send(self) -> bool:
        return self._next < len(self._requests) and time.monotonic() < self._closes_at

    def _send(self, connection: _Connection, due_at: float) -> None:
        connection.send(self._requests[self._next], due_at)
        self._next += 1
        self._under_way += 1
        self.outcome.sent += 1
        if self.plan.keep_times:
            self.outcome.sent_at.append(due_at)

    def answered(self, connection: _Connection, due_at: float, *, accepted: bool) -> None:
        """Count an answer, and in a closed loop send the next request."""
        now = time.monotonic()
        self._latencies.append(now - due_at)
        self.outcome.accepted += accepted
        self.outcome.refused += not accepted
        self.outcome.ended_at = now
        self._under_way -= 1
        if self.plan.rate is None and self._may_send():
            self._send(connection, now)
        else:
            self._free.append(connection)
        if not self._under_way:
            self._over.set()

    def lost(self, connection: _Connection) -> None:
        """Forget a connection that the server closed."""
        if connection in self._free:
            self._free.remove(connection)
        if connection.due_at is not None:
            self.outcome.lost += 1
            self._under_way -= 1
            self._over.set()

    def _summed_up(self) -> Outcome:
        self.outcome.p50_ms = percentile(self._latencies, 0.50) * 1000
        self.outcome.p99_ms = percentile(self._latencies, 0.99) * 1000
        self.outcome.most_ms = max(self._latencies, default=0.0) * 1000
        return self.outcome


def main(plan: Plan) -> None:
    """Run a plan and write its outcome."""
    if plan.core is not None:
        os.sched_setaffinity(0, {plan.core})
    requests = read_requests(Path(plan.requests))
    gc.freeze()
    gc.disable()

    async def run() -> Outcome:
        return await Load(plan, requests).run()

    outcome = uvloop.run(run())
    Path(plan.answer).write_text(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
