"""Apply inbox events: read what a gateway wrote, send it through `observe()`, and say what became of each event.

One event that cannot be read or matched is set aside; the rest of its batch goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import text
from sqlmodel import Session

from connectors._base import PayoutUpdate, UnreadableEvent
from models.database import Quick
from models.inbox import InboxState
from models.outbox import Carrier
from models.payout import Source
from models.rows import NUMBERS, Rows, as_json
from payouts.integrations import Connected, usable
from payouts.observe import Evidence, Observed, observe

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Reading:
    """One claimed inbox event and what we make of it."""

    id: int
    state: InboxState = InboxState.APPLIED
    detail: str | None = None
    updates: list[PayoutUpdate] = field(default_factory=list)
    reference: str | None = None
    order_key: str | None = None

    def set_aside(self, state: InboxState, detail: str) -> "_Reading":
        self.state, self.detail = state, detail
        return self


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch has done, for the edge to act on after its commit."""

    observed: Observed
    outcomes: dict[InboxState, int]


def apply_events(session: Session, ids: Sequence[int], now: datetime, carrier: Carrier | None = None) -> Applied:
    """Apply the inbox events with these ids that are still new and that nobody else is applying."""
    rows = _TAKE.run(session, {"ids": as_json(list(ids))}).fetchall()
    integrations = usable(session, {row.integration_id for row in rows}) if rows else {}
    readings: dict[int, _Reading] = {}
    evidence: list[Evidence] = []
    untaken: list[tuple[int, datetime]] = []
    for event_id, integration_id, body, is_conflict, received_at in rows:
        if integration_id in integrations:
            reading = readings[event_id] = _read(event_id, body, integrations[integration_id], is_conflict=is_conflict)
            evidence += [Evidence(integration_id, update, Source.WEBHOOK, event_id) for update in reading.updates]
        else:
            untaken.append((event_id, received_at))
    if untaken:
        session.connection().execute(_PUT_BACK, {"rows": as_json(untaken), "now": now})
    observed = observe(session, evidence, now, carrier)
    for item in observed.unmatched:
        reading = readings[item.inbox_event_id or 0].set_aside(InboxState.UNMATCHED, "payout_unknown")
        reading.reference, reading.order_key = item.update.reference, item.update.order_key
    _set_aside(session, list(readings.values()), now)
    outcomes: dict[InboxState, int] = {}
    for reading in readings.values():
        outcomes[reading.state] = outcomes.get(reading.state, 0) + 1
    return Applied(observed, outcomes)


def set_poison_aside(session: Session, event_id: int, detail: str, now: datetime) -> None:
    """Mark one event that fails on our side, so that it stops failing others. An engineer mends us and reapplies it."""
    if session.connection().execute(_TAKE_ONE, {"id": event_id}).rowcount:
        _set_aside(session, [_Reading(event_id).set_aside(InboxState.POISON, detail)], now)


def _read(event_id: int, body: bytes, integration: Connected, *, is_conflict: bool) -> _Reading:
    reading = _Reading(event_id)
    if is_conflict and not integration.connector.REPEATS_ARE_NEWS:  # a hint claims nothing that could differ
        _log.error("inbox.conflict", inbox_event=event_id, integration=integration.slug)
        return reading.set_aside(InboxState.CONFLICT, "event_key_with_another_body")
    try:
        reading.updates = integration.connector.parse(body)
    except UnreadableEvent as error:
        _log.warning("inbox.unreadable", inbox_event=event_id, integration=integration.slug, error=str(error))
        return reading.set_aside(InboxState.UNREADABLE, str(error)[:200])
    except Exception as error:  # noqa: BLE001 (a connector's bug must not hold up its neighbours)
        _log.exception("inbox.poison", inbox_event=event_id, integration=integration.slug)
        return reading.set_aside(InboxState.POISON, f"parse: {type(error).__name__}")
    return reading


def _set_aside(session: Session, readings: Sequence[_Reading], now: datetime) -> None:
    """Write down which of these events, taken and so no longer new, were not applied."""
    rows = [(r.id, r.state, r.detail, r.reference, r.order_key) for r in readings if r.state is not InboxState.APPLIED]
    if rows:
        session.connection().execute(_SET_ASIDE, {"rows": as_json(rows), "now": now})


_TAKE: Final = Quick(
    f"""
    WITH mine AS MATERIALIZED (
        DELETE FROM inbox_new WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM inbox_new WHERE event_id = {NUMBERS} FOR UPDATE SKIP LOCKED
        )) RETURNING event_id
    )
    SELECT e.id, e.integration_id, e.body, EXISTS (
        SELECT FROM inbox_event first WHERE first.integration_id = e.integration_id
            AND first.event_key = e.event_key AND first.id < e.id
    ) AS is_conflict, e.received_at
    FROM inbox_event e WHERE e.id = ANY(ARRAY(SELECT event_id FROM mine)) ORDER BY e.id
    """,  # noqa: S608 (a fragment of our own)
    binary=True,
    planned_anew=True,
)
_TAKE_ONE: Final = text("DELETE FROM inbox_new WHERE event_id = :id")

_UNTAKEN: Final = Rows(event_id="bigint", received_at="timestamptz")
_PUT_BACK: Final = text(
    f"INSERT INTO inbox_new ({_UNTAKEN.listed}, swept_at) SELECT {_UNTAKEN.listed}, :now FROM {_UNTAKEN.table} AS u"  # noqa: S608
)
"""Events of an integration that cannot be opened stay new until it is mended; the sweep comes back to them."""

_ASIDE: Final = Rows(id="bigint", state="text", detail="text", reference="text", order_key="text")
_SET_ASIDE: Final = text(
    f"""
    INSERT INTO inbox_set_aside (event_id, integration_id, state, set_aside_at, detail, reference, order_key)
    SELECT s.id, e.integration_id, s.state, :now, s.detail, s.reference, s.order_key
    FROM {_ASIDE.table} AS s JOIN inbox_event e ON e.id = s.id
    """  # noqa: S608 (a fragment of our own)
)
