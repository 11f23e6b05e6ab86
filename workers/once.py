"""What a process has one of, made when it is first needed."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Thing = TypeVar("_Thing")


class Once(Generic[_Thing]):
    """Makes one thing, even when several threads are the first to ask; `functools.cache` would make one for each."""

    def __init__(self, make: Callable[[], _Thing]) -> None:
        """Make nothing yet."""
        self._make = make
        self._lock = threading.Lock()
        self.made: _Thing | None = None
        """The thing, or None while nobody has asked."""

    def __call__(self) -> _Thing:
        """Return the thing."""
        with self._lock:
            if self.made is None:
                self.made = self._make()
            return self.made

    def forget(self) -> "_Thing | None":
        """Return the thing if it was made, for its last use; the next caller makes another."""
        with self._lock:
            made, self.made = self.made, None
            return made
