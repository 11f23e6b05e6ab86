"""News that we sent ourselves, to try a gateway's way in: what became of it, and putting it away.

It names a payout that nobody has, so applying it leaves it unmatched. Left there, it would wait for a person for ever.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from models.inbox import InboxEvent, InboxState

NOTE: Final = "sent by `ratchet gateways check`"


@dataclass(frozen=True, slots=True)
class Trial:
    """Where the news that we sent stands."""

    inbox_event: int
    state: InboxState
    detail: str | None
    received_at: datetime
    applied_at: datetime | None


def look(session: Session, integration_id: int, event_key: str) -> Trial | None:
    """Return where it stands, None where it was not stored."""
    event = session.exec(_of(integration_id, event_key)).first()
    if event is None:
        return None
    return Trial(event.id or 0, InboxState(event.state), event.detail, event.received_at, event.applied_at)


def put_away(session: Session, integration_id: int, event_key: str, now: datetime) -> None:
    """Settle it, whatever became of it, with a note of where it came from."""
    event = session.exec(_of(integration_id, event_key).with_for_update()).first()
    if event is not None:
        event.state, event.detail, event.applied_at = InboxState.APPLIED, NOTE, event.applied_at or now
        event.reference = event.order_key = None


def _of(integration_id: int, event_key: str) -> SelectOfScalar[InboxEvent]:
    """Find it by its key, or by its key and the minute it came in, as a hint is stored."""
    key = col(InboxEvent.event_key)
    is_it = (key == event_key) | key.startswith(f"{event_key}@", autoescape=True)
    return select(InboxEvent).where(col(InboxEvent.integration_id) == integration_id, is_it)
