"""Endpoints that may not take all that is due: one that is tried again, one that wants only so many a second.

Only their rows are locked, and only while a claim of theirs is under way; all others are claimed without a word here.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from models.endpoint import Breaker
from models.rows import Rows, as_json

BURST: Final = timedelta(seconds=1)
"""What a rate limit saves up while nothing is due."""


STANDS_OPEN: Final = "(p.breaker = 'closed' AND p.rate_limit IS NULL)"
"""Nothing stands between an endpoint and what is due: all of it may go."""


def admit(session: Session, asking: Mapping[str, Sequence[str]], now: datetime, lease: datetime) -> list[str]:
    """Return those that may go: one to see whether the endpoint is back, or as many as its rate limit leaves.

    A gate that another worker stands at is passed by: what is due there goes later.
    """
    admitted: list[str] = []
    changes = []
    for row in session.connection().execute(_LOCK, {"ids": list(asking), "now": now}):
        ids = asking[row.id]
        most, paced_until = _pace(row.rate_limit, row.paced_until, len(ids), now)
        is_probe = row.breaker != Breaker.CLOSED
        admitted += ids[: min(most, 1) if is_probe else most]
        if most:
            changes.append((row.id, paced_until, is_probe))
    session.connection().execute(_PASS, {"rows": as_json(changes), "lease": lease})
    return admitted


def _pace(rate: int | None, paced_until: datetime | None, asking: int, now: datetime) -> tuple[int, datetime | None]:
    """Return how many may go, and how far the limit is then used up. The generic cell rate algorithm."""
    if rate is None:
        return asking, None
    interval = timedelta(seconds=1) / rate
    used_up_to = max(paced_until or now, now)
    most = max(0, min(asking, (now + max(BURST, interval) - used_up_to) // interval))
    return most, used_up_to + most * interval


_LOCK: Final = text(
    """
    SELECT id, breaker, rate_limit, paced_until FROM endpoint
    WHERE id = ANY(:ids) AND is_enabled AND (not_before IS NULL OR not_before <= :now)
    ORDER BY id FOR UPDATE SKIP LOCKED
    """
)

_PASSED: Final = Rows(id="text", paced_until="timestamptz", is_probe="boolean")
_PASS: Final = text(
    f"""
    UPDATE endpoint p SET
        paced_until = coalesce(r.paced_until, p.paced_until),
        breaker = CASE WHEN r.is_probe THEN 'half_open' ELSE p.breaker END,
        not_before = CASE WHEN r.is_probe THEN :lease ELSE p.not_before END
    FROM {_PASSED.table} AS r WHERE p.id = r.id
    """  # noqa: S608 (a fragment of our own)
)
"""While a probe is out nothing else goes, and should its worker be lost, the next probe goes when its lease ends."""
