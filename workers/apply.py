"""Apply inbox events in batches."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import dramatiq
import structlog
from sqlalchemy.exc import DataError, IntegrityError

from models.database import transaction
from payouts.apply import Applied, apply_events, set_poison_aside
from payouts.observe import Observed
from telemetry import metrics
from workers.broker import QueueAway, broker
from workers.deliver import carrier, carry, send_deliver

QUEUE: Final = "apply"
LARGEST_MESSAGE: Final = 500
BLAMED: Final = (DataError, IntegrityError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What an event can bring about. Whatever else the database says no to, it would say to every event: it is away, a lock
was not to be had, its schema is behind, a grant is missing. That is raised, and the sweep comes back to these rows."""

_log = structlog.get_logger(__name__)


@dramatiq.actor(broker=broker, queue_name=QUEUE)
def apply(ids: list[int]) -> None:
    """Apply the inbox events with these ids, commit, then queue what they owe."""
    _apply(ids)


def send_apply(ids: Sequence[int]) -> None:
    """Queue inbox events. Raises one of `QueueAway` while Redis is away."""
    for start in range(0, len(ids), LARGEST_MESSAGE):
        apply.send(list(ids[start : start + LARGEST_MESSAGE]))


def _apply(ids: Sequence[int]) -> None:
    try:
        with transaction() as session:
            now = datetime.now(UTC)
            applied = apply_events(session, ids, now, carrier(now))
    except BLAMED as error:
        _apply_apart(ids, error)
        return
    _report(applied)


def _apply_apart(ids: Sequence[int], error: Exception) -> None:
    """Find the event that fails by halving the batch, and set it alone aside."""
    if len(ids) > 1:
        middle = len(ids) // 2
        _apply(ids[:middle])
        _apply(ids[middle:])
        return
    _log.error("inbox.poison", inbox_event=ids[0], error=type(error).__name__)
    with transaction() as session:
        set_poison_aside(session, ids[0], f"apply: {type(error).__name__}", datetime.now(UTC))
    metrics.APPLIED.labels("poison").inc()


def _report(applied: Applied) -> None:
    for state, number in applied.outcomes.items():
        metrics.APPLIED.labels(state).inc(number)
    _log.info(
        "inbox.applied", advanced=applied.observed.advanced, **{state.value: n for state, n in applied.outcomes.items()}
    )
    queue_what_follows(applied.observed)


def queue_what_follows(observed: Observed) -> None:
    """After a commit: have delivered and applied what evidence has brought about, wherever it came from."""
    carry(observed.carried, observed.awaited)
    try:
        send_deliver(observed.deliveries)
        send_apply(observed.released)
    except QueueAway as error:
        _log.warning("queue.away", error=type(error).__name__, deliveries=len(observed.deliveries))
