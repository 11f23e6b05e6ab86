"""Public ids: opaque, prefixed, and sorting by the time they were made."""

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Final

RANDOM_BYTES: Final = 8


def new_id(prefix: str) -> str:
    """Return `prefix_` with 12 hex digits of milliseconds and 64 random bits: `pay_019a…`."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{os.urandom(RANDOM_BYTES).hex()}"


def first_id(prefix: str, moment: datetime) -> str:
    """Return what sorts before every id made at or after `moment`, and after every one made before."""
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    return f"{prefix}_{min(max(0, milliseconds), _LAST):012x}"


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = 16**12 - 1
