"""Queue again what was committed and then forgotten: a lost hint, a flushed Redis, a killed worker."""

from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import text

from models.database import transaction
from models.inbox import renewing
from payouts.letters import due_letters
from payouts.sweeping import sweep_due
from telemetry import metrics
from workers import apply, deliver
from workers.broker import backlog
from workers.mail import send_mail

FORGOTTEN_AFTER: Final = timedelta(seconds=2)
"""Committed work is normally taken up within milliseconds."""
SWEPT_AGAIN_AFTER: Final = timedelta(seconds=10)
"""A long queue must not be queued a second time every second."""
LONGEST_BACKLOG: Final = 20
"""Messages, more than a sweep makes. What waits in them is still due, and would be found again and again: workers would
look at it over and over, and while they are away Redis would fill up."""
MOST: Final = 5_000

_log = structlog.get_logger(__name__)


def sweep_inbox() -> None:
    """Queue inbox events that are still new some time after they were committed."""
    if backlog(apply.QUEUE) > LONGEST_BACKLOG:
        return
    now = datetime.now(UTC)
    parameters = {"now": now, "old": now - FORGOTTEN_AFTER, "swept": now - SWEPT_AGAIN_AFTER, "most": MOST}
    with transaction() as session:
        ids = [row[0] for row in session.connection().execute(_FORGOTTEN_EVENTS, parameters)]
    _report("inbox", len(ids))
    apply.send_apply(ids)


def sweep_outbox() -> None:
    """Queue deliveries that are due: first attempts whose message was lost, and every retry."""
    if backlog(deliver.QUEUE) > LONGEST_BACKLOG:
        return
    with transaction() as session:
        ids = sweep_due(session, datetime.now(UTC) - timedelta(seconds=1), MOST)
    _report("outbox", len(ids))
    deliver.send_deliver(ids)


def sweep_letters() -> None:
    """Queue the letters that are due."""
    with transaction() as session:
        ids = due_letters(session, datetime.now(UTC))
    _report("letters", len(ids))
    send_mail(ids)


def match_unmatched() -> None:
    """Make events new again whose payout has come on record in the very moment they were set aside."""
    with transaction() as session:
        ids = [row[0] for row in session.connection().execute(_MATCHED_BY_NOW, {"most": MOST})]
    _report("unmatched", len(ids))
    apply.send_apply(ids)


def _report(kind: str, number: int) -> None:
    if number:
        metrics.SWEPT.labels(kind).inc(number)
        _log.info("sweep.queued_again", kind=kind, number=number)


_FORGOTTEN_EVENTS: Final = text(
    """
    UPDATE inbox_new n SET swept_at = :now FROM (
        SELECT event_id FROM inbox_new
        WHERE received_at < :old AND (swept_at IS NULL OR swept_at < :swept)
        ORDER BY event_id LIMIT :most FOR UPDATE SKIP LOCKED
    ) forgotten WHERE n.event_id = forgotten.event_id RETURNING n.event_id
    """
)

_MATCHED_BY_NOW: Final = text(
    renewing(
        """
        SELECT w.event_id FROM inbox_set_aside w WHERE w.state = 'unmatched' AND EXISTS (
            SELECT FROM payout p WHERE p.integration_id = w.integration_id
                AND (p.gateway_reference = w.reference OR p.order_key = w.order_key)
        ) LIMIT :most FOR UPDATE OF w SKIP LOCKED
        """
    )
)
