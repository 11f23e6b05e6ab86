"""The load generator, a process of its own (`python -m benchmarks.load PLAN`): raw HTTP/1.1 on plain sockets.

Requests are made beforehand and only written here, so that this costs a fraction of what any server does. Closed loop:
each connection sends its next request when it has its answer. Open loop: requests leave at a fixed rate whatever the
answers do, and latency counts from when a request was due, so a stalled server cannot hide the ones it held up.
"""

import gc
import json
import os
import sys
import time
from collections import deque
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Final

from benchmarks.exchange import Peers, body_length, connected, received, send
from benchmarks.plan import Outcome, Plan, percentile, read_requests

DRAIN_SECONDS: Final = 15.0
"""How long answers are waited for after the last request."""
TICK_SECONDS: Final = 0.001

_body_length: Final = lru_cache(maxsize=64)(body_length)
"""A server's heads are the same for a second, but for what it says of each answer."""


class Load:
    """One run of one plan."""

    def __init__(self, plan: Plan, requests: list[bytes]) -> None:
        """Send nothing yet."""
        self.plan = plan
        self.outcome = Outcome()
        self._requests = requests
        self._next = plan.first
        self._peers = Peers()
        self._free: deque[int] = deque()
        """Connections without a request under way."""
        self._due: dict[int, float] = {}
        """The others, each with when its request was due."""
        self._pieces: dict[int, bytes] = {}
        """What has come of an answer that is not whole yet."""
        self._latencies: list[float] = []
        self._closes_at = 0.0

    def run(self) -> Outcome:
        """Connect, send until the time or the requests are up, wait for the last answers."""
        ports = (self.plan.port, self.plan.second_port or self.plan.port)
        try:
            for number in range(self.plan.connections):
                self._free.append(self._peers.add(connected(ports[number % 2])))
            self.outcome.started_at = time.monotonic()
            self._closes_at = self.outcome.started_at + self.plan.seconds
            if self.plan.rate:
                self._send_at_rate(self.plan.rate)
            else:
                self._send_in_turn()
            self._read_the_rest()
        finally:
            self._peers.close()
        self.outcome.ended_at = self.outcome.ended_at or time.monotonic()
        return self._summed_up()

    def _send_in_turn(self) -> None:
        while self._free and self._may_send():
            self._send(self._free.popleft(), time.monotonic())
        while self._due and self._may_send():
            self._read(self._closes_at - time.monotonic())

    def _send_at_rate(self, rate: float) -> None:
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
            self._read(TICK_SECONDS)

    def _read_the_rest(self) -> None:
        deadline = max(time.monotonic(), self._closes_at) + DRAIN_SECONDS
        while self._due and (left := deadline - time.monotonic()) > 0:
            self._read(left)
        self.outcome.lost += len(self._due)

    def _may_send(self) -> bool:
        return self._next < len(self._requests) and time.monotonic() < self._closes_at

    def _send(self, connection: int, due_at: float) -> None:
        self._due[connection] = due_at
        send(self._peers.sockets[connection], self._requests[self._next])
        self._next += 1
        self.outcome.sent += 1
        if self.plan.keep_times:
            self.outcome.sent_at.append(due_at)

    def _read(self, seconds: float) -> None:
        """Take what answers there are, or come within so many seconds."""
        for connection in self._peers.readable(seconds):
            data = received(self._peers.sockets[connection])
            if not data:
                self._lose(connection)
                continue
            if connection in self._pieces:
                data = self._pieces.pop(connection) + data
            end = data.find(b"\r\n\r\n") + 4
            if end < 4 or len(data) < end + _body_length(data[:end]):  # noqa: PLR2004 (not even the head)
                self._pieces[connection] = data
            elif connection in self._due:
                self._answered(connection, accepted=data[9:10] == b"2")

    def _answered(self, connection: int, *, accepted: bool) -> None:
        """Count an answer, and in a closed loop send the next request."""
        now = time.monotonic()
        self._latencies.append(now - self._due.pop(connection))
        self.outcome.accepted += accepted
        self.outcome.refused += not accepted
        self.outcome.ended_at = now
        if self.plan.rate is None and now < self._closes_at and self._next < len(self._requests):
            self._send(connection, now)
        else:
            self._free.append(connection)

    def _lose(self, connection: int) -> None:
        """Forget a connection that the server closed."""
        self._peers.drop(connection)
        if self._due.pop(connection, None) is None:
            self._free.remove(connection)
        else:
            self.outcome.lost += 1

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
    Path(plan.answer).write_text(json.dumps(asdict(Load(plan, requests).run())))


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
