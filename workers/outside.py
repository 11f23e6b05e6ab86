"""The event loop on which everything runs that waits for a gateway, so that no actor's thread ever does."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import structlog

from connectors._http import AiohttpHttp
from workers.once import Once

MOST_AT_ONCE: Final = 64
MOST_PER_INTEGRATION: Final = 16
CLOSE_SECONDS: Final = 5.0
LONGEST_WAIT_SECONDS: Final = 30.0
"""For somebody who waits for an answer: a request's own limit and a turn in the line."""

_Answer = TypeVar("_Answer")

_log = structlog.get_logger(__name__)


class Outside:
    """One loop on one thread, and one HTTP session."""

    def __init__(self) -> None:
        """Start the loop."""
        self._loop = asyncio.new_event_loop()
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._shares: dict[int, asyncio.Semaphore] = {}
        self._thread = threading.Thread(target=self._run, name="outside", daemon=True)
        self._thread.start()
        self.http: Final = AiohttpHttp()
        asyncio.run_coroutine_threadsafe(self.http.__aenter__(), self._loop).result()

    def start(self, integration_id: int, call: Coroutine[Any, Any, None]) -> None:
        """Run a call in its turn. Returns at once; what the call raises is logged."""
        asyncio.run_coroutine_threadsafe(self._in_turn(integration_id, call), self._loop)

    def wait_for(self, integration_id: int, call: Coroutine[Any, Any, _Answer]) -> _Answer:
        """Run a call in its turn; return what it returns, or raise what it raises, or `TimeoutError`."""
        answering = asyncio.run_coroutine_threadsafe(self._answer(integration_id, call), self._loop)
        try:
            return answering.result(LONGEST_WAIT_SECONDS)
        except TimeoutError:
            answering.cancel()
            raise

    async def _answer(self, integration_id: int, call: Coroutine[Any, Any, _Answer]) -> _Answer:
        async with self._share(integration_id), self._places:
            return await call

    def close(self) -> None:
        """Hang up. Calls under way are lost, and their payouts keep their next poll."""
        asyncio.run_coroutine_threadsafe(self.http.__aexit__(None, None, None), self._loop).result(CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    async def _in_turn(self, integration_id: int, call: Coroutine[Any, Any, None]) -> None:
        async with self._share(integration_id), self._places:
            try:
                await call
            except Exception:  # noqa: BLE001 (reported in full, and life goes on)
                # The payout keeps its next poll, so whatever went wrong here is tried again.
                _log.exception("outside.call_failed")

    def _share(self, integration_id: int) -> asyncio.Semaphore:
        return self._shares.setdefault(integration_id, asyncio.Semaphore(MOST_PER_INTEGRATION))


outside: Final = Once(Outside)
"""Return this process's loop. Two of them would hand each other's session about."""
