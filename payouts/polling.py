"""When a payout is asked about next. A payout in flight always has a next poll; the database insists on it."""

import random
from datetime import datetime, timedelta
from typing import Final

from models.lifecycle import IN_FLIGHT, TOP, PayoutStatus
from settings import settings

IN_FLIGHT_STEPS: Final = (2, 5, 10, 20, 40, 60, 120, 240, 360)
"""Units (minutes) since the last poll or advance; the last one repeats for ever."""

SETTLED_STEPS: Final = (5, 60, 360, 1_440, 4_320, 10_080)
"""A settled payout is asked about too: to confirm a failure, and because a bank returns money days later."""

LONGEST_FAILURE: Final = 120
"""Characters of what is kept of why a payout could not be asked about, or not be handed over."""

JITTER: Final = 0.2
"""Up to a fifth earlier or later, so that payouts created together are not asked about together for ever."""


def next_poll_at(status: PayoutStatus, step: int, now: datetime, planned: datetime | None = None) -> datetime | None:
    """Return when to ask again after `step` polls without news, or None when nothing can change any more.

    A `planned` time that chance could have chosen now is kept: what does not change is in no index to be changed.
    """
    if status in IN_FLIGHT:
        units = IN_FLIGHT_STEPS[min(step, len(IN_FLIGHT_STEPS) - 1)]
    elif status is not TOP and step < len(SETTLED_STEPS):
        units = SETTLED_STEPS[step]
    else:
        return None
    wait = timedelta(seconds=units * settings().poll_unit_seconds)
    if planned is not None and (1 - JITTER) * wait <= planned - now <= (1 + JITTER) * wait:
        return planned
    return now + wait * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (spreads load, guards nothing)
