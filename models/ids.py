"""Public ids: opaque, prefixed, and sorting by the time they were made."""

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Final

RANDOM_BYTES: Final = 8

_AT_ONCE: Final = 512
"""Ids that one question to the system's generator is enough for. Each question gives up the interpreter, and waits for
it again behind whoever computes: asked for one by one, ids took an eighth of the time of applying a batch."""


def new_id(prefix: str) -> str:
    """Return `prefix_` with 12 hex digits of milliseconds and 64 random bits: `pay_019a…`."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{_random()}"


def _random() -> str:
    try:
        return _ready.pop()
    except IndexError:
        drawn = os.urandom(RANDOM_BYTES * _AT_ONCE).hex()
        first, *others = (drawn[start : start + 2 * RANDOM_BYTES] for start in range(0, len(drawn), 2 * RANDOM_BYTES))
        _ready.extend(others)
        return first


_ready: Final[list[str]] = []
os.register_at_fork(after_in_child=_ready.clear)  # or parent and child would give out the same ids


def first_id(prefix: str, moment: datetime) -> str:
    """Return what sorts before every id made at or after `moment`, and after every one made before."""
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    return f"{prefix}_{min(max(0, milliseconds), _LAST):012x}"


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = 16**12 - 1
