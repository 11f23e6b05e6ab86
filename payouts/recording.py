"""What attempts have done: logged, their deliveries closed or put off, and what it says about their endpoints."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session

from models.database import Quick
from models.outbox import DeliveryState
from models.rows import Rows, as_json
from payouts.deliveries import IS_OPEN, Finished, Outcome, retry_after
from payouts.faring import fare
from payouts.notices import Told


def record(session: Session, finished: Sequence[Finished], now: datetime) -> list[Told]:
    """Log the attempts, close or reschedule their deliveries, and note how their endpoints fare.

    Returns the notices that this has brought about, for the edge to act on after its commit.
    """
    rows = []
    for one in finished:
        state, next_at = _what_next(one, now)
        answer = b64encode(one.answer).decode() if one.answer else None
        made = (one.claimed.id, one.claimed.number, one.started_at, one.duration_ms, one.outcome, one.status_code)
        rows.append((*made, answer, one.error, state, next_at))
    _RECORD.run(session, {"rows": as_json(rows), "now": now})
    return fare(session, finished, now)


def _what_next(one: Finished, now: datetime) -> tuple[DeliveryState, datetime]:
    if one.outcome is Outcome.DELIVERED:
        return DeliveryState.DELIVERED, now
    wait = retry_after(one.claimed.number, one.claimed.to.retry_schedule)
    if wait is None:
        return DeliveryState.DEAD, now
    return DeliveryState.OPEN, now + max(wait, one.retry_after or timedelta(0))


_FINISHED: Final = Rows(
    delivery_id="text", number="int", started_at="timestamptz", duration_ms="int", outcome="text", status_code="int",
    answer="text", error="text", state="text", next_attempt_at="timestamptz",
)  # fmt: skip
_RECORD: Final = Quick(
    f"""
    WITH f AS (SELECT * FROM {_FINISHED.table} AS f), logged AS (
        INSERT INTO attempt (delivery_id, number, started_at, duration_ms, outcome, status_code, answer, error)
        SELECT delivery_id, number, started_at, duration_ms, outcome, status_code, decode(answer, 'base64'), error
        FROM f
    )
    UPDATE delivery d SET state = f.state, next_attempt_at = f.next_attempt_at, leased_until = NULL,
        closed_at = CASE WHEN f.state <> 'open' THEN :now END
    FROM f WHERE d.id = f.delivery_id AND d.id = ANY(ARRAY(SELECT delivery_id FROM f)) AND {IS_OPEN}
        AND (f.state = 'delivered' OR d.attempts = f.number)
    """  # noqa: S608 (a fragment of our own)
)
"""A failure of an attempt whose lease ran out says nothing about the attempt that came after it: it is only logged."""
