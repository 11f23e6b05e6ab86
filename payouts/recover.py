"""Recovery: make good what an endpoint has missed since a time, in steps that a kill leaves where they are.

Missed is every event that the endpoint subscribes to and for which it has no delivery that is delivered or still open:
the deliveries died, or there were none, because the endpoint was disabled, or made later. Unlike a single redelivery
these are owed with their payout, so that they stand in its queue by their `sequence`: in order among themselves, and
before what has not been sent yet. See docs/decisions/0010.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.errors import UniqueViolation
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from models import audit
from models.endpoint import Endpoint
from models.ids import first_id, new_id
from models.recovery import Recovery, RecoveryState
from models.rows import Rows, as_json
from payouts.create import Refused
from payouts.endpoints import find
from payouts.pages import Stretch, is_name
from payouts.payload import rfc3339
from payouts.sight import Sight

EVENTS_IN_A_STEP: Final = 500
MOST_OPEN: Final = 5_000
"""A recovery waits while its endpoint is owed this many: news must not stand behind a year of history."""
NEWEST: Final = Stretch("rcv")
WAITS: Final = timedelta(seconds=2)
SETTLED_AFTER: Final = timedelta(seconds=15)
"""Longer than a transaction lives. What was begun before the endpoint was enabled may be committed only afterwards: a
recovery looks at the last seconds when they are over, or it would miss what it is there for."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """What one step has done."""

    recovery_id: str
    deliveries: list[str]
    """What its edge enqueues after the commit."""


def start(session: Session, sight: Sight, endpoint_id: str, since: datetime, *, actor: str, now: datetime) -> Recovery:
    """Put a recovery on record, to be worked off by the reconciler. Raises `Refused`."""
    endpoint = find(session, endpoint_id, organisation_id=sight.organisation_id, test_mode=sight.test_mode)
    if not endpoint.is_enabled:
        raise Refused("endpoint_disabled", "a disabled endpoint is sent nothing; enable it first")
    if since >= now:
        raise Refused("since_not_past", "give a time in the past")
    recovery = Recovery(
        organisation_id=endpoint.organisation_id,
        test_mode=endpoint.test_mode,
        endpoint_id=endpoint.id,
        since=since,
        until=now,
        reached=first_id("evt", since),
        created_at=now,
        next_step_at=now,
    )
    try:
        with session.begin_nested():
            session.add(recovery)
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        raise Refused("recovery_running", "a recovery of this endpoint is under way; wait until it is done") from None
    line = {"endpoint": endpoint.id, "since": rfc3339(since)}
    audit.record(session, actor=actor, action="recovery.started", entity=recovery.id, before=None, after=line, now=now)
    return recovery


def find_recovery(session: Session, sight: Sight, recovery_id: str) -> Recovery:
    """Return one recovery. Raises `Refused`."""
    found = _read(session, sight, ["recovery.id = :id"], {"id": recovery_id, "limit": 1})
    if not found:
        raise Refused("unknown_recovery", "there is no such recovery")
    return found[0]


def list_recoveries(session: Session, sight: Sight, stretch: Stretch = NEWEST) -> list[Recovery]:
    """Return the recoveries, newest first."""
    return _read(session, sight, stretch.within("recovery.id"), stretch.parameters)


def progress(recovery: Recovery) -> float:
    """Return how far it is between its times, from 0 to 1."""
    if recovery.state == RecoveryState.DONE:
        return 1.0
    reached, begin, end = (int(id_[4:16], 16) for id_ in _span(recovery))
    return min(1.0, max(0.0, (reached - begin) / max(1, end - begin)))


def _span(recovery: Recovery) -> tuple[str, str, str]:
    return recovery.reached, first_id("evt", recovery.since), first_id("evt", recovery.until)


def step(session: Session, now: datetime) -> Stepped | None:
    """Work off a piece of the recovery whose turn it is, or return None when none has anything to do now."""
    due = select(Recovery).where(Recovery.state == RecoveryState.RUNNING, Recovery.next_step_at <= now)
    oldest = due.order_by(col(Recovery.next_step_at), col(Recovery.id)).limit(1)
    recovery = session.exec(oldest.with_for_update(skip_locked=True)).one_or_none()
    if recovery is None:
        return None
    endpoint = session.get_one(Endpoint, recovery.endpoint_id)
    owed: list[str] = []
    if not endpoint.is_enabled or endpoint.deleted_at is not None:
        recovery.state, recovery.finished_at = RecoveryState.STOPPED, now
    elif session.connection().execute(_OPEN, {"endpoint": endpoint.id, "most": MOST_OPEN}).scalar_one() >= MOST_OPEN:
        recovery.next_step_at = now + WAITS
    else:
        owed = _go_on(session, recovery, endpoint, now)
    session.flush()
    return Stepped(recovery.id, owed)


def _go_on(session: Session, recovery: Recovery, endpoint: Endpoint, now: datetime) -> list[str]:
    """Look at the next events, owe what was missed of them, and note how far that was. Return the deliveries."""
    end, settled = first_id("evt", recovery.until), first_id("evt", now - SETTLED_AFTER)
    asked = {
        "organisation": recovery.organisation_id,
        "test_mode": recovery.test_mode,
        "endpoint": recovery.endpoint_id,
        "types": endpoint.event_types,
        "reached": recovery.reached,
        "before": min(end, settled),
        "most": EVENTS_IN_A_STEP,
    }
    page = session.connection().execute(_PAGE, asked).all()
    recovery.next_step_at = now
    if len(page) < EVENTS_IN_A_STEP:
        recovery.reached = max(recovery.reached, min(end, settled))
        if settled >= end:
            recovery.state, recovery.finished_at = RecoveryState.DONE, now
        else:
            recovery.next_step_at = recovery.until + SETTLED_AFTER
    else:
        recovery.reached = page[-1].id
    recovery.examined += sum(event.is_wanted for event in page)
    recovery.pruned += sum(event.is_missed and not event.is_whole for event in page)
    return _owe(session, recovery, [event for event in page if event.is_missed and event.is_whole], now)


def _owe(session: Session, recovery: Recovery, missed: Sequence[Any], now: datetime) -> list[str]:
    rows = [(new_id("dlv"), event.payout_id, event.id, event.sequence) for event in missed]
    if rows:
        asked = {"rows": as_json(rows), "endpoint": recovery.endpoint_id, "recovery": recovery.id, "now": now}
        session.connection().execute(_OWE, asked)
    recovery.owed += len(rows)
    return [row[0] for row in rows]


def _read(session: Session, sight: Sight, conditions: Sequence[str], asked: dict[str, Any]) -> list[Recovery]:
    if not is_name(*asked.values()):
        return []
    where = [text(condition) for condition in (sight.narrows("recovery"), *conditions)]
    limit = asked.pop("limit")
    wanted = select(Recovery).where(*where).params(**sight.parameters, **asked)
    return list(session.exec(wanted.order_by(col(Recovery.id).desc()).limit(limit)))


_OPEN: Final = text(
    """
    SELECT count(*) FROM (SELECT FROM delivery WHERE endpoint_id = :endpoint AND state = 'open' LIMIT :most) AS backlog
    """
)

_PAGE: Final = text(
    """
    WITH page AS MATERIALIZED (
        SELECT id FROM payout_event
        WHERE organisation_id = :organisation AND test_mode = :test_mode AND id > :reached AND id < :before
        ORDER BY id LIMIT :most
    )
    SELECT e.id, e.payout_id, e.sequence, w.is_wanted, e.payload IS NOT NULL AS is_whole,
        w.is_wanted AND NOT EXISTS (
            SELECT FROM delivery d
            WHERE d.event_id = e.id AND d.endpoint_id = :endpoint AND d.state IN ('open', 'delivered')
        ) AS is_missed
    FROM payout_event e CROSS JOIN LATERAL (
        SELECT CAST(:types AS text[]) IS NULL OR 'payout.' || e.status = ANY(:types) AS is_wanted
    ) w
    WHERE e.organisation_id = :organisation AND e.test_mode = :test_mode AND e.id > :reached AND e.id < :before
        AND e.id <= (SELECT left(max(id), 16) || 'g' FROM page)
    ORDER BY e.id
    """
)
"""A page never ends within a millisecond: the order of ids made in the same one is chance, and with the later event of
a payout in one step and the earlier in the next, the later could be sent first."""

_MISSED: Final = Rows(id="text", payout="text", event="text", n="int")
_OWE: Final = text(
    f"""
    WITH missed AS (SELECT * FROM {_MISSED.table} AS m), replaced AS (
        UPDATE delivery d SET state = 'replaced' FROM missed m
        WHERE d.event_id = m.event AND d.endpoint_id = :endpoint AND d.state = 'dead'
    )
    INSERT INTO delivery (id, endpoint_id, payout_id, event_id, sequence, created_at, next_attempt_at, recovery_id)
    SELECT id, :endpoint, payout, event, n, :now, :now, :recovery FROM missed
    """  # noqa: S608 (a fragment of our own)
)
