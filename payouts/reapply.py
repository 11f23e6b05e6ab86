"""Look at inbox events that are not applied, and make new again what was set aside: we may have been mended since.

What is new is applied by whoever comes first, a worker that is told or the sweep.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlmodel import Session

from models.audit import record
from models.inbox import STATE, InboxState, renewing
from payouts.refused import Refused

REAPPLICABLE: Final = (InboxState.UNMATCHED, InboxState.UNREADABLE, InboxState.POISON)

_WHY_NOT: Final = {
    InboxState.CONFLICT: (
        "conflict",
        "another body came under an event key that we had. The first one counts: ask the gateway which is true",
    ),
    InboxState.APPLIED: ("already_applied", "its evidence is on record, and an event is applied once"),
    InboxState.NEW: ("already_new", "a worker takes it as it is; `ratchet doctor` tells whether one is there"),
}


def waiting(session: Session, states: Sequence[InboxState], slug: str | None, most: int) -> Sequence[Row[Any]]:
    """Return events that are not applied, the newest first: id, slug, state, detail, received_at. Nothing of a body."""
    asked = {"states": list(states), "slug": slug, "most": most}
    return session.connection().execute(_WAITING, asked).all()


def reapply(session: Session, ids: Sequence[int], *, by: str, now: datetime) -> list[int]:
    """Make these events new again, all of them or none. Raises `Refused`."""
    session.connection().execute(_LOCK, {"ids": list(ids)})
    found = session.connection().execute(_BY_ID, {"ids": list(ids)}).all()
    if unknown := sorted(set(ids) - {row.id for row in found}):
        raise Refused("unknown_event", f"there is no inbox event {unknown[0]}; `ratchet inbox list` shows them")
    for row in found:
        _insist_on(InboxState(row.state), f"event {row.id}")
    return _make_new(session, found, by, now)


def reapply_all(session: Session, state: InboxState, most: int, *, by: str, now: datetime) -> list[int]:
    """Make the oldest events of a state new again, so many at most. Raises `Refused`."""
    _insist_on(state, "not one of them")
    return _make_new(session, session.connection().execute(_BY_STATE, {"state": state, "most": most}).all(), by, now)


def _insist_on(state: InboxState, subject: str) -> None:
    if state not in REAPPLICABLE:
        code, why = _WHY_NOT[state]
        raise Refused(code, f"{subject}: {why}")


def _make_new(session: Session, found: Sequence[Row[tuple[int, str, str | None]]], by: str, now: datetime) -> list[int]:
    ids = [row.id for row in found]
    session.connection().execute(_NEW_AGAIN, {"ids": ids})
    new = {"state": InboxState.NEW}
    for row in found:
        was = {"state": row.state, "detail": row.detail}
        record(session, actor=by, action="inbox.reapplied", entity=f"inbox:{row.id}", before=was, after=new, now=now)
    return ids


_WAITING: Final = text(
    """
    SELECT e.id, i.slug, w.state, w.detail, e.received_at
    FROM (
        SELECT event_id, state, detail FROM inbox_set_aside UNION ALL SELECT event_id, 'new', NULL FROM inbox_new
    ) w JOIN inbox_event e ON e.id = w.event_id JOIN integration i ON i.id = e.integration_id
    WHERE w.state = ANY(:states) AND (CAST(:slug AS text) IS NULL OR i.slug = :slug)
    ORDER BY e.id DESC LIMIT :most
    """
)
_LOCK: Final = text("SELECT FROM inbox_set_aside WHERE event_id = ANY(:ids) ORDER BY event_id FOR UPDATE")
"""Whoever waits for somebody who reapplies the same reads afterwards that they are new."""
_BY_ID: Final = text(
    f"""
    SELECT e.id, {STATE} AS state, (SELECT detail FROM inbox_set_aside WHERE event_id = e.id) AS detail
    FROM inbox_event e WHERE e.id = ANY(:ids) ORDER BY e.id
    """  # noqa: S608 (a fragment of our own)
)
_BY_STATE: Final = text(
    """
    SELECT event_id AS id, state, detail FROM inbox_set_aside WHERE state = :state
    ORDER BY event_id LIMIT :most FOR UPDATE SKIP LOCKED
    """
)
_NEW_AGAIN: Final = text(renewing("SELECT unnest(CAST(:ids AS bigint[]))"))
