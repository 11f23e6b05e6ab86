"""Public ids: opaque, prefixed, and sorting by the time they were made."""

import os
import time


def new_id(prefix: str) -> str:
    """Return `prefix_` with 12 hex digits of milliseconds and 64 random bits: `pay_019a…`."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{os.urandom(8).hex()}"
