"""Who may be attempted now: looked at by id, claimed, found by the sweep, given back when there is no time after all.

Looking sorts ids by endpoint, so that no more is claimed of one than there is room for. It locks nothing, so it may
take many at once; a claim is one short statement for a few of them, and sees for itself whether they may still go.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from models.database import Quick
from models.notice import PING
from models.outbox import Owed
from models.rows import IDS, Rows, as_json
from payouts.deliveries import (
    HEADS_TIME,
    IS_OPEN,
    LEASE,
    MAY_BE_SENT_TO,
    MAY_GO,
    PING_RETRY_AFTER,
    Claimed,
    Finished,
    Target,
)
from payouts.gates import STANDS_OPEN, admit
from payouts.targets import targets

Room = Callable[[str], int]
"""How many more deliveries of an endpoint its caller can take."""


@dataclass(slots=True)
class Claims:
    """What a claim has brought."""

    claimed: list[Claimed] = field(default_factory=list)
    waiting: dict[str, list[str]] = field(default_factory=dict)
    """By endpoint, deliveries that may go and for which there was no room."""


@dataclass(frozen=True, slots=True)
class Due:
    """One delivery that could go."""

    id: str
    endpoint_id: str
    stands_open: bool
    """Whether all that is due of its endpoint may go (payouts/gates.py)."""


def claim(session: Session, ids: Sequence[str], now: datetime, room: Room | None = None) -> Claims:
    """Lease those of these deliveries that are due heads and that nobody else holds, as far as there is room."""
    return take(session, look(session, ids, now), now, room)


def look(session: Session, ids: Sequence[str], now: datetime) -> list[Due]:
    """Return those of these deliveries that are due heads and that nobody holds, the longest overdue first."""
    return [Due(*row) for row in LOOK.run(session, {"ids": as_json(ids), "now": now})]


def take(session: Session, due: Iterable[Due], now: datetime, room: Room | None = None) -> Claims:
    """Lease those that still may go, as far as there is room."""
    claims = Claims()
    chosen: list[str] = []
    asking: dict[str, list[str]] = {}
    for endpoint_id, (stands_open, ids) in _by_endpoint(due).items():
        most = len(ids) if room is None else max(0, min(len(ids), room(endpoint_id)))
        if stands_open:
            chosen += ids[:most]
            if most < len(ids):
                claims.waiting[endpoint_id] = ids[most:]
        elif most:
            asking[endpoint_id] = ids[:most]
    if asking:
        chosen += admit(session, asking, now, now + LEASE)
    if chosen:
        claims.claimed = _take(session, chosen, asking, now)
    return claims


def carried(session: Session, owed: Sequence[Owed], leased_until: datetime) -> list[Claimed]:
    """Return those that were leased to their carrier as they were written."""
    leased = [one for one in owed if one.is_leased]
    to = targets(session, dict.fromkeys(one.endpoint_id for one in leased))
    return [
        Claimed(one.id, 1, one.endpoint_id, event.payout_id, event.id, leased_until, event.payload, to[one.endpoint_id])
        for one, event in ((one, one.event) for one in leased)
    ]


def release(session: Session, claimed: Sequence[Claimed], now: datetime) -> None:
    """Give back what was claimed and will not be attempted: as if it had never been claimed."""
    rows = [(one.id, one.number, one.endpoint_id) for one in claimed]
    session.connection().execute(_RELEASE, {"rows": as_json(rows), "now": now})


def successors(session: Session, finished: Sequence[Finished], now: datetime) -> list[str]:
    """Return the deliveries that have just become heads. Ask after the commit of `record`, or one could be missed."""
    pairs = {(one.claimed.endpoint_id, one.claimed.payout_id) for one in finished if one.claimed.payout_id}
    return [row[0] for row in _SUCCESSORS.run(session, {"rows": as_json(list(pairs)), "now": now})]


def _by_endpoint(due: Iterable[Due]) -> dict[str, tuple[bool, list[str]]]:
    found: dict[str, tuple[bool, list[str]]] = {}
    for one in due:
        found.setdefault(one.endpoint_id, (one.stands_open, []))[1].append(one.id)
    return found


def _take(session: Session, ids: Sequence[str], asked: Collection[str], now: datetime) -> list[Claimed]:
    leased_until = now + LEASE
    parameters = {"ids": as_json(ids), "admitted": as_json(list(asked)), "now": now, "lease": leased_until}
    rows = TAKE.run(session, parameters).fetchall()
    if bare := [row[0] for row in rows if row[5] is None]:  # pruned in the very moment it was asked for again
        session.connection().execute(_BURY, {"ids": bare, "now": now})
        rows = [row for row in rows if row[5] is not None]
    to = targets(session, {row[2]: row[6] for row in rows})
    return [
        Claimed(
            delivery_id, number, endpoint_id, payout_id, event_id, leased_until, payload, _for(to[endpoint_id], type_)
        )
        for delivery_id, number, endpoint_id, payout_id, event_id, payload, _, type_ in rows
    ]


def _for(to: Target, notice: str | None) -> Target:
    return replace(to, retry_schedule=PING_RETRY_AFTER) if notice == PING else to


_IS_DUE_BY_ID: Final = f"d.id = {IDS} AND {IS_OPEN} AND {MAY_GO} AND {HEADS_TIME} IS NULL"

LOOK: Final = Quick(
    f"""
    SELECT d.id, d.endpoint_id, to_.stands_open FROM delivery d CROSS JOIN LATERAL (
        SELECT {STANDS_OPEN} AS stands_open FROM endpoint p WHERE p.id = d.endpoint_id AND {MAY_BE_SENT_TO} LIMIT 1
    ) AS to_ WHERE {_IS_DUE_BY_ID} ORDER BY d.next_attempt_at, d.id
    """  # noqa: S608 (fragments of this file)
)

TAKE: Final = Quick(
    f"""
    WITH mine AS MATERIALIZED (
        SELECT d.ctid AS place, to_.version FROM delivery d CROSS JOIN LATERAL (
            SELECT CAST(p.xmin AS text) AS version FROM endpoint p WHERE p.id = d.endpoint_id
                AND (({STANDS_OPEN} AND {MAY_BE_SENT_TO}) OR CAST(:admitted AS jsonb) ? p.id) LIMIT 1
        ) AS to_ WHERE {_IS_DUE_BY_ID} FOR UPDATE OF d SKIP LOCKED
    ), claimed AS (
        UPDATE delivery d SET leased_until = :lease, attempts = d.attempts + 1 FROM mine WHERE d.ctid = mine.place
        RETURNING d.id, d.attempts, d.endpoint_id, d.payout_id, d.event_id, mine.version
    )
    SELECT c.id, c.attempts, c.endpoint_id, c.payout_id, c.event_id, coalesce(e.payload, n.payload), c.version,
        n.type
    FROM claimed c LEFT JOIN payout_event e ON e.id = c.event_id
    LEFT JOIN notice n ON n.id = c.event_id AND c.payout_id IS NULL
    WHERE (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
    """  # noqa: S608 (fragments of this file)
)
"""Written where the lock has found it, without a second look at the index: a place holds until the row is written.

The gates that the claim has just passed (`admitted`) are locked by it and closed behind it. Its commit does not wait
for the disk: if PostgreSQL crashes in that moment the lease was never written, and what was sent in its name is sent
again, with the same id, as after the crash of a worker. What came of an attempt is on disk before anything follows.
"""

_BURY: Final = text("UPDATE delivery SET state = 'dead', closed_at = :now, leased_until = NULL WHERE id = ANY(:ids)")

_RELEASED: Final = Rows(id="text", number="int", endpoint="text")
_RELEASE: Final = text(
    f"""
    WITH r AS (SELECT * FROM {_RELEASED.table} AS r), given_back AS (
        UPDATE delivery d SET leased_until = NULL, attempts = d.attempts - 1 FROM r
        WHERE d.id = r.id AND d.id = ANY(ARRAY(SELECT id FROM r)) AND {IS_OPEN} AND d.attempts = r.number
    )
    UPDATE endpoint SET not_before = :now
    WHERE id = ANY(ARRAY(SELECT DISTINCT endpoint FROM r)) AND breaker = 'half_open'
    """  # noqa: S608 (fragments of our own)
)
"""A probe that is not made must not keep the next one waiting for its lease."""

_PAIRS: Final = Rows(endpoint="text", payout="text")
_SUCCESSORS: Final = Quick(
    f"""
    SELECT d.id FROM {_PAIRS.table} AS k CROSS JOIN LATERAL (
        SELECT id, next_attempt_at, leased_until, attempts FROM delivery
        WHERE endpoint_id = k.endpoint AND payout_id = k.payout AND closed_at IS NULL ORDER BY sequence LIMIT 1
    ) AS d WHERE {MAY_GO}
    """  # noqa: S608 (fragments of this file)
)
"""The head of each queue, if it may go. One probe each: how many wait elsewhere does not matter."""
