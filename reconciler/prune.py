"""Prune what has had its time: steps of some milliseconds, a few seconds of them at a time."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlmodel import Session

from models.database import transaction
from payouts import retention
from settings import settings
from telemetry import metrics

EVERY_SECONDS: Final = 10.0
BUDGET_SECONDS: Final = 4.0
"""Of one run, for all that it prunes: half of the time the database has its peace."""
START_AGAIN_AFTER: Final = timedelta(hours=12)

_log = structlog.get_logger(__name__)


Look = Callable[[Session, datetime, str], tuple[int, str | None]]


class _Round:
    """How far one kind was looked at. What was passed over is looked at again with the next round."""

    def __init__(self, kind: str, look: Look) -> None:
        self._kind, self._look = kind, look
        self._reached, self._began_at = "", datetime.now(UTC)

    def step(self, session: Session, before: datetime) -> int:
        """Look at the next ones. Returns 0 at the end."""
        now = datetime.now(UTC)
        if now - self._began_at > START_AGAIN_AFTER:
            self._reached, self._began_at = "", now
        pruned, reached = self._look(session, before, self._reached)
        if reached is None:
            return 0
        self._reached = reached
        metrics.PRUNED.labels(self._kind).inc(pruned)
        return retention.MOST


_bodies: Final = _Round("bodies", retention.prune_bodies)
_deliveries: Final = _Round("deliveries", retention.prune_deliveries)


def prune() -> None:
    """Prune until nothing is left that is old enough, or the time of this run is over."""
    now, known = datetime.now(UTC), settings()
    deadline = time.monotonic() + BUDGET_SECONDS
    _repeat("dropped", lambda session: retention.drop_what_nobody_awaits(session, now), deadline)
    if days := known.keep_attempts_days:
        before = now - timedelta(days=days)
        _repeat("attempts", lambda session: retention.prune_attempts(session, before), deadline)
    if days := known.keep_deliveries_days:
        old = now - timedelta(days=days)
        _repeat("", lambda session: _bodies.step(session, old), deadline)
        _repeat("", lambda session: _deliveries.step(session, old), deadline)
        _repeat("notices", lambda session: retention.prune_notices(session, old), deadline)


def _repeat(kind: str, step: Callable[[Session], int], deadline: float) -> None:
    """Take step after step, each in a transaction of its own."""
    pruned, last = 0, retention.MOST
    while last == retention.MOST and time.monotonic() < deadline:
        with transaction() as session:
            last = step(session)
        pruned += last
    if kind and pruned:
        metrics.PRUNED.labels(kind).inc(pruned)
        _log.info("history.pruned", kind=kind, number=pruned)
