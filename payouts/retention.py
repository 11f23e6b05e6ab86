"""What has had its time goes, the oldest first, so much at a time: nobody waits for it, and no lock is held for long.

Attempts go by their own age. The bodies of payout events go once nothing is owed for them; then their deliveries may go
too: a body that is still there without a delivery would look like an event that somebody has missed. The events
themselves stay: they are the payouts' history. What is open is never touched.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from models.ids import first_id
from payouts.deliveries import IS_OPEN

MOST: Final = 1_000
"""Rows looked at in one transaction: some 10 ms."""


def prune_attempts(session: Session, before: datetime, most: int = MOST) -> int:
    """Delete attempts made before then. Returns how many."""
    return session.connection().execute(_ATTEMPTS, {"before": before, "most": most}).rowcount


def prune_bodies(session: Session, before: datetime, after: str, most: int = MOST) -> tuple[int, str | None]:
    """Let go of the bodies of events made before then, looking on from `after`.

    Returns how many, and how far it has looked, or None when there is nothing left to look at. A body that is still
    owed is passed over, so whoever calls this starts again from "" now and then.
    """
    asked = {"bound": first_id("evt", before), "after": after, "most": most}
    pruned, reached = session.connection().execute(_BODIES, asked).one()
    return pruned, reached


def prune_deliveries(session: Session, before: datetime, after: str, most: int = MOST) -> tuple[int, str | None]:
    """Delete deliveries that were closed before then. Looks on, and returns, as `prune_bodies` does."""
    asked = {"bound": first_id("dlv", before), "before": before, "after": after, "most": most}
    pruned, reached = session.connection().execute(_DELIVERIES, asked).one()
    return pruned, reached


def prune_notices(session: Session, before: datetime, most: int = MOST) -> int:
    """Delete notices made before then for which nothing is on record any more. Returns how many."""
    asked = {"bound": first_id("evt", before), "most": most}
    return session.connection().execute(_NOTICES, asked).rowcount


def drop_what_nobody_awaits(session: Session, now: datetime, most: int = MOST) -> int:
    """Close what is still owed to endpoints that were deleted. Returns how many."""
    return session.connection().execute(_DROP, {"now": now, "most": most}).rowcount


_ATTEMPTS: Final = text(
    """
    DELETE FROM attempt WHERE id = ANY(ARRAY(
        SELECT id FROM (SELECT id, started_at FROM attempt ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED) oldest
        WHERE started_at < :before
    ))
    """
)

_BODIES: Final = text(
    f"""
    WITH page AS MATERIALIZED (
        SELECT id, payload IS NOT NULL AS is_whole FROM payout_event
        WHERE id > :after AND id < :bound ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
    ), pruned AS (
        UPDATE payout_event e SET payload = NULL
        WHERE e.id = ANY(ARRAY(SELECT id FROM page WHERE is_whole))
            AND (SELECT d.id FROM delivery d WHERE d.event_id = e.id AND {IS_OPEN} LIMIT 1) IS NULL
        RETURNING e.id
    )
    SELECT (SELECT count(*) FROM pruned), (SELECT max(id) FROM page)
    """  # noqa: S608 (a fragment of our own)
)

_DELIVERIES: Final = text(
    """
    WITH page AS MATERIALIZED (
        SELECT id, event_id, closed_at FROM delivery
        WHERE id > :after AND id < :bound ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
    ), pruned AS (
        DELETE FROM delivery WHERE id = ANY(ARRAY(
            SELECT id FROM page WHERE closed_at < :before
                AND (SELECT e.payload FROM payout_event e WHERE e.id = page.event_id LIMIT 1) IS NULL
        )) RETURNING id
    )
    SELECT (SELECT count(*) FROM pruned), (SELECT max(id) FROM page)
    """
)

_NOTICES: Final = text(
    """
    DELETE FROM notice WHERE id = ANY(ARRAY(
        SELECT n.id FROM notice n WHERE n.id < :bound AND n.next_mail_at IS NULL
            AND (SELECT d.id FROM delivery d WHERE d.event_id = n.id LIMIT 1) IS NULL
        ORDER BY n.id LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
)

_DROP: Final = text(
    """
    UPDATE delivery SET state = 'dropped', closed_at = :now, leased_until = NULL WHERE id = ANY(ARRAY(
        SELECT d.id FROM endpoint p CROSS JOIN LATERAL (
            SELECT id FROM delivery WHERE endpoint_id = p.id AND state = 'open' ORDER BY next_attempt_at
            LIMIT :most FOR UPDATE SKIP LOCKED
        ) d WHERE p.deleted_at IS NOT NULL LIMIT :most
    ))
    """
)
