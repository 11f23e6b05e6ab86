"""Deliveries: what one attempt needs, what it has come to, and when the next one is due.

Only the oldest open delivery of an (endpoint, payout) may be attempted: partners hear about one payout in order, and
a partner that refuses one payout's event delays that payout alone. Who may be attempted now is decided in
payouts/claiming.py, what an attempt changes in payouts/recording.py.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from settings import settings

RETRY_AFTER: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""After the n-th failed attempt; the first is at once. Standard Webhooks' schedule, a little over three days."""

PING_RETRY_AFTER: Final = (5, 30)
"""Seconds. Whoever pings looks on: hours later the answer would tell nobody anything."""

MOST_ATTEMPTS: Final = len(RETRY_AFTER) + 1
JITTER: Final = 0.2
"""Up to a fifth later, so that a partner that comes back is not met by everything at once."""

LEASE: Final = timedelta(seconds=45)
"""How long a claimed delivery belongs to its worker. Above the time-out of an attempt and the wait for its turn."""


# Statistics about what is open are old when they are needed: a backlog comes about faster than PostgreSQL looks. So no
# statement leaves it to them which index is read. The head of a queue is asked for by `closed_at IS NULL`, what is due
# by `state = 'open'`: the same rows, by the table's own constraint, and each word has one index that answers to it.
# Whoever knows the ids uses a third word. And what is looked up for each row is a subquery with a LIMIT, because a join
# would be reordered: with old statistics a claim of a hundred rows read the whole backlog a hundred times.
IS_OPEN: Final = "d.state || '' = 'open'"
"""For deliveries that are found by their ids: no index answers to it but the primary key."""
HEADS_TIME: Final = """(
    SELECT older.next_attempt_at FROM delivery older
    WHERE older.endpoint_id = d.endpoint_id AND older.payout_id = d.payout_id
        AND older.closed_at IS NULL AND older.sequence < d.sequence
    ORDER BY older.sequence LIMIT 1
)"""
"""When the head that a delivery waits behind is due; NULL for a head."""
NOBODYS: Final = "(d.leased_until IS NULL OR d.leased_until < :now)"
MAY_GO: Final = f"(d.attempts = 0 OR d.next_attempt_at <= :now) AND {NOBODYS}"
"""What was never attempted may go as soon as it is a head. Its time only tells the sweep when to look at it."""
MAY_BE_SENT_TO: Final = "p.is_enabled AND (p.not_before IS NULL OR p.not_before <= :now)"


class Outcome(StrEnum):
    """What one attempt has come to."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """An answer other than 2xx; redirects are never followed."""
    UNREACHABLE = "unreachable"
    FORBIDDEN = "forbidden"
    """The address may not be dialled."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an endpoint's webhooks go and how they are signed: one for all that is claimed of it at a time."""

    url: str = field(repr=False)
    schemes: tuple[str, ...]
    sealed: bytes = field(repr=False)
    sealed_headers: bytes | None = field(default=None, repr=False)
    retry_schedule: tuple[int, ...] | None = None
    """Seconds; None is the usual one."""


@dataclass(slots=True)  # not frozen, like Finished: that makes it three times as slow to come by
class Claimed:
    """One delivery that this worker may attempt once, until its lease ends."""

    id: str
    number: int
    """Of the attempt, from 1."""
    endpoint_id: str
    payout_id: str | None
    event_id: str
    leased_until: datetime
    payload: str = field(repr=False)
    to: Target


@dataclass(slots=True)
class Finished:
    """One attempt, over."""

    claimed: Claimed
    outcome: Outcome
    started_at: datetime
    duration_ms: int
    status_code: int | None = None
    answer: bytes = field(default=b"", repr=False)
    error: str | None = None
    retry_after: timedelta | None = None
    """How long the endpoint asked to be left alone, when it answered 429 or 503."""


def retry_after(number: int, schedule: Sequence[int] | None = None) -> timedelta | None:
    """Return the wait after failed attempt `number` (from 1), jittered, or None after the last.

    `schedule` is an endpoint's own, in seconds.
    """
    waits = RETRY_AFTER if schedule is None else tuple(timedelta(seconds=seconds) for seconds in schedule)
    if number > len(waits):
        return None
    spread = random.uniform(1.0, 1 + JITTER)  # noqa: S311 (spreads load, guards nothing)
    return waits[number - 1] * (spread * settings().retry_scale)
