"""What a door has committed and somebody is to take up at once: gathered for a moment, then queued in few messages.

A message for each creation would cost the door a tenth of all that the creation costs it. What a crash loses here is
on record already, and the reconciler finds it: Redis is only speed.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from workers.broker import QueueAway
from workers.deliver import send_deliver
from workers.once import Once
from workers.submit import send_submits

WINDOWS: Final = ((16, 0.05), (2, 0.02), (0, 0.001))
"""Ids gathered in one window, and the seconds of the next: the busier, the longer."""
MOST_WAITING: Final = 10_000
STOP_SECONDS: Final = 2.0

_log = structlog.get_logger(__name__)


class Gatherer:
    """Gathers ids and sends them from a thread of its own."""

    def __init__(self, send: Callable[[Sequence[str]], None]) -> None:
        """`send` may block, and may raise one of `QueueAway`."""
        self._send = send
        self._dropped = 0
        self._ids: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="gatherer", daemon=True)
        self._thread.start()

    def add(self, ids: Sequence[str]) -> None:
        """Send these soon. Never blocks and never raises."""
        if self._ids.qsize() >= MOST_WAITING:
            self._dropped += len(ids)  # the sweep finds them; told with the next message
            return
        for each in ids:
            self._ids.put(each)

    def close(self) -> None:
        """Send what waits."""
        self._ids.put(None)
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        window = WINDOWS[-1][1]
        while True:
            first = self._ids.get()
            time.sleep(window if first is not None else 0)
            found = [first, *(self._ids.get() for _ in range(self._ids.qsize()))]
            ids = [each for each in found if each is not None]
            window = next(seconds for number, seconds in WINDOWS if len(ids) >= number)
            self._send_all(ids)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                _log.warning("soon.left_to_sweep", error="too many wait", ids=dropped)
            if len(ids) < len(found):
                return

    def _send_all(self, ids: Sequence[str]) -> None:
        try:
            self._send(ids)
        except QueueAway as error:
            _log.warning("soon.left_to_sweep", error=type(error).__name__, ids=len(ids))
        except Exception:  # noqa: BLE001 (reported in full; a dead gatherer would leave everything to the sweep)
            _log.exception("soon.stumbled", ids=len(ids))


_SUBMITS: Final = Once(lambda: Gatherer(send_submits))
_DELIVERS: Final = Once(lambda: Gatherer(send_deliver))


def submit_soon(payout_id: str) -> None:
    """Have an unsent payout submitted."""
    _SUBMITS().add([payout_id])


def deliver_soon(ids: Sequence[str]) -> None:
    """Have deliveries attempted."""
    if ids:
        _DELIVERS().add(ids)


def close() -> None:
    """Send what waits, if anything ever did."""
    for gatherer in (_SUBMITS.forget(), _DELIVERS.forget()):
        if gatherer:
            gatherer.close()
