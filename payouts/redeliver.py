"""Send a partner one event again, because somebody asks for it.

What is closed gets a new delivery of the same event, with the same `webhook-id`. It carries no payout, as a notice
does, so it stands in no queue: the event has had its turn, and what the partner asks for now neither waits behind other
events of its payout nor, should it fail again, holds them up for three days. `sequence` in the body tells the partner
that it is old.

What is still open gets no second delivery, which would make the partner hear the same twice and would leave the first
one in the way of all that follow. It is brought forward instead, together with those of its payout before it: they are
what it waits for. See docs/decisions/0010.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from models import audit
from models.ids import new_id
from payouts.create import Refused
from payouts.pages import is_name
from payouts.sight import Sight


@dataclass(frozen=True, slots=True)
class Redelivered:
    """What will be attempted, and what the edge enqueues after the commit."""

    id: str
    is_new: bool
    """False when the delivery that is open already was brought forward."""
    deliveries: list[str]


def redeliver(session: Session, sight: Sight, delivery_id: str, *, actor: str, now: datetime) -> Redelivered:
    """Have the event of this delivery sent again. Raises `Refused`."""
    connection = session.connection()
    asked = {**sight.parameters, "id": delivery_id}
    find = text(_FIND.format(mine=sight.narrows("p")))
    found = connection.execute(find, asked).one_or_none() if is_name(delivery_id) else None
    if found is None:
        raise Refused("unknown_delivery", "there is no such delivery")
    _check(found)
    row = {"endpoint": found.endpoint_id, "event": found.event_id, "now": now}
    waiting = connection.execute(_OPEN, row).one_or_none()
    if waiting is not None:
        queue = {"id": waiting.id, "payout": waiting.payout_id, "sequence": waiting.sequence}
        brought = [each[0] for each in connection.execute(_BRING_FORWARD, row | queue)]
        redelivered = Redelivered(waiting.id, is_new=False, deliveries=brought)
    else:
        fresh = {"id": new_id("dlv"), "sequence": found.sequence, "of": delivery_id}
        connection.execute(_OWE, row | fresh)
        connection.execute(_REPLACE, row)
        redelivered = Redelivered(fresh["id"], is_new=True, deliveries=[fresh["id"]])
    line = {"event": found.event_id, "endpoint": found.endpoint_id, "delivery": redelivered.id}
    audit.record(
        session, actor=actor, action="delivery.redelivered", entity=delivery_id, before=None, after=line, now=now
    )
    return redelivered


def _check(found: Any) -> None:
    if found.deleted_at is not None:
        raise Refused("endpoint_deleted", "the endpoint of this delivery is deleted")
    if not found.is_enabled:
        raise Refused("endpoint_disabled", "a disabled endpoint is sent nothing; enable it first")
    if not found.is_whole:
        raise Refused("event_pruned", "the body of this event is no longer kept; ask for the payout instead")


_FIND: Final = """
    SELECT d.endpoint_id, d.event_id, d.sequence, p.is_enabled, p.deleted_at,
        coalesce(e.payload, n.payload) IS NOT NULL AS is_whole
    FROM delivery d JOIN endpoint p ON p.id = d.endpoint_id
    LEFT JOIN payout_event e ON e.id = d.event_id LEFT JOIN notice n ON n.id = d.event_id
    WHERE d.id = :id AND {mine} FOR NO KEY UPDATE OF d
"""
"""The lock makes two who ask at once one after the other: the second finds what the first has made."""

_OPEN: Final = text(
    """
    SELECT id, payout_id, sequence FROM delivery
    WHERE event_id = :event AND endpoint_id = :endpoint AND state = 'open' ORDER BY id LIMIT 1
    """
)
_BRING_FORWARD: Final = text(
    """
    UPDATE delivery SET next_attempt_at = least(next_attempt_at, :now)
    WHERE endpoint_id = :endpoint AND closed_at IS NULL AND (leased_until IS NULL OR leased_until < :now)
        AND (id = :id OR payout_id = :payout AND sequence < :sequence)
    RETURNING id
    """
)
"""What is under way just now is left alone."""

_OWE: Final = text(
    """
    INSERT INTO delivery (id, endpoint_id, payout_id, event_id, sequence, created_at, next_attempt_at, redelivery_of)
    VALUES (:id, :endpoint, NULL, :event, :sequence, :now, :now, :of)
    """
)
_REPLACE: Final = text(
    """
    UPDATE delivery SET state = 'replaced'
    WHERE event_id = :event AND endpoint_id = :endpoint AND state = 'dead'
    """
)
"""Nobody has to decide about it any more."""
