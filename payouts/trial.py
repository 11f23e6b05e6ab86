"""News that we sent ourselves, to try a gateway's way in: what became of it, and putting it away.

It names a payout that nobody has, so applying it leaves it unmatched. Left there, it would wait for a person for ever.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, delete, select
from sqlmodel.sql.expression import SelectOfScalar

from models.inbox import InboxEvent, InboxState, NewEvent, SetAsideEvent, state_of


@dataclass(frozen=True, slots=True)
class Trial:
    """Where the news that we sent stands."""

    inbox_event: int
    state: InboxState
    detail: str | None
    received_at: datetime
    set_aside_at: datetime | None


def look(session: Session, integration_id: int, event_key: str) -> Trial | None:
    """Return where it stands, None where it was not stored."""
    event = session.exec(_of(integration_id, event_key)).first()
    if event is None:
        return None
    aside = session.get(SetAsideEvent, event.id)
    detail, at = (aside.detail, aside.set_aside_at) if aside else (None, None)
    return Trial(event.id or 0, state_of(session, event.id or 0), detail, event.received_at, at)


def put_away(session: Session, integration_id: int, event_key: str) -> None:
    """Let nobody wait for it, whatever became of it."""
    event = session.exec(_of(integration_id, event_key)).first()
    if event is not None:  # first from what is new: a worker that has it there sets it aside when it is done
        session.exec(delete(NewEvent).where(col(NewEvent.event_id) == event.id))
        session.exec(delete(SetAsideEvent).where(col(SetAsideEvent.event_id) == event.id))


def _of(integration_id: int, event_key: str) -> SelectOfScalar[InboxEvent]:
    """Find it by its key, or by its key and the minute it came in, as a hint is stored."""
    key = col(InboxEvent.event_key)
    is_it = (key == event_key) | key.startswith(f"{event_key}@", autoescape=True)
    return select(InboxEvent).where(col(InboxEvent.integration_id) == integration_id, is_it)
