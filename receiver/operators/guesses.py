"""A bound on guessing passwords: so many tries per minute for one name from one peer, in this process."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

MOST_TRIES: Final = 10
WINDOW_SECONDS: Final = 60.0
MOST_REMEMBERED: Final = 10_000
"""Names and peers kept in memory; beyond it the oldest are forgotten."""


class Guesses:
    """Counts a try before its password is looked at, so that tries at the same moment are counted too."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._clock = clock
        self._tries: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def wait_seconds(self, name: str, peer: str) -> int:
        """Count one try; return 0 when it may go on, else how long to wait. A try that must wait is not counted."""
        now = self._clock()
        tries = self._tries.setdefault((name, peer), deque())
        self._tries.move_to_end((name, peer))
        if len(self._tries) > MOST_REMEMBERED:
            self._tries.popitem(last=False)
        while tries and now - tries[0] >= WINDOW_SECONDS:
            tries.popleft()
        if len(tries) >= MOST_TRIES:
            return int(WINDOW_SECONDS - (now - tries[0])) + 1
        tries.append(now)
        return 0

    def forget(self, name: str, peer: str) -> None:
        """Forgive: the password was right."""
        self._tries.pop((name, peer), None)
