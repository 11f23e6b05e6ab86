"""Tell the workers which inbox events are new, after the gateways have their answers.

Redis is only speed: a hint that cannot be sent is dropped, and the sweep finds the committed rows.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

WINDOWS: Final = ((64, 0.05), (16, 0.02), (0, 0.001))
"""Ids gathered in one window, and the seconds of the next: the busier, the longer, because a batch of hundreds costs
each event a fraction of what it costs alone, and because nobody waits for a hint but the partner."""
MOST_WAITING: Final = 50_000

_log = structlog.get_logger(__name__)


class Hints:
    """Gathers ids for a moment and sends them as one message from a thread of its own."""

    def __init__(self, send: Callable[[Sequence[int]], None]) -> None:
        """`send` may block and may raise; it bounds the messages it makes of many ids."""
        self._send = send
        self._dropped = 0
        self._waiting: list[int] = []
        self._window = WINDOWS[-1][1]
        self._sender: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hints")

    def add(self, ids: list[int]) -> None:
        """Send these ids soon. Never blocks and never raises."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting += ids
        else:
            self._dropped += len(ids)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())

    async def close(self) -> None:
        """Send what waits."""
        if self._sender:
            await self._sender
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _send_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._window)
            ids, self._waiting = self._waiting, []
            self._window = next(seconds for number, seconds in WINDOWS if len(ids) >= number)
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._send, ids)
            except Exception as error:  # noqa: BLE001 (whatever the queue does, the rows are committed and will be swept)
                _log.warning("hints.queue_away", error=type(error).__name__, events=len(ids))
            if self._dropped:
                _log.warning("hints.left_to_sweep", error="too many wait", events=self._dropped)
                self._dropped = 0
