"""What anybody may ask for and is dear to find out: found out seldom, and once for all who ask."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

_Answer = TypeVar("_Answer")


class Seldom(Generic[_Answer]):
    """One answer, read in a thread of its own by one at a time, whoever asks and however many they are.

    The event loop's own threads are few, and the gateways' door renews its integrations there: strangers who held them
    all would keep every webhook waiting.
    """

    def __init__(self, read: Callable[[], _Answer], seconds: float) -> None:
        """`read` may block and may raise; what comes of it holds for so many `seconds`."""
        self._read = read
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seldom")
        self._reading: Future[_Answer] | None = None
        self._read_at = 0.0

    async def get(self) -> _Answer:
        """Return the answer, or raise what `read` raised. Whoever stops waiting takes nothing from the others."""
        if self._reading is None or (self._reading.done() and time.monotonic() - self._read_at >= self._seconds):
            self._reading = self._thread.submit(self._read_now)
        return await asyncio.shield(asyncio.wrap_future(self._reading))

    def _read_now(self) -> _Answer:
        try:
            return self._read()
        finally:
            self._read_at = time.monotonic()
