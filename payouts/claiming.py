"""Who may be attempted now: claimed by id, found by the sweep, given back when there is no time for them after all."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from models.endpoint import Breaker
from models.outbox import Owed
from payouts.deliveries import LEASE, Claimed, Destination, Finished
from payouts.gates import Gate, admit
from payouts.standing import as_json

Room = Callable[[str], int]
"""How many more deliveries of an endpoint its caller can take."""


@dataclass(slots=True)
class Claims:
    """What a claim has brought."""

    claimed: list[Claimed] = field(default_factory=list)
    waiting: dict[str, list[str]] = field(default_factory=dict)
    """By endpoint, deliveries that may go and for which there was no room."""


def claim(session: Session, ids: Sequence[str], now: datetime, room: Room | None = None) -> Claims:
    """Lease those of these deliveries that are due heads and that nobody else holds, as far as there is room."""
    claims = Claims()
    gates: dict[str, Gate] = {}
    chosen: list[str] = []
    for endpoint_id, gate, due in _by_endpoint(session, ids, now):
        most = len(due) if room is None else max(0, min(len(due), room(endpoint_id)))
        if gate.stands_open:
            chosen += due[:most]
            if most < len(due):
                claims.waiting[endpoint_id] = due[most:]
        elif most:
            gate.asking = due[:most]
            gates[endpoint_id] = gate
    if gates:
        chosen += admit(session, gates, now, now + LEASE)
    if chosen:
        claims.claimed = _take(session, chosen, now)
    return claims


def carried(session: Session, owed: Sequence[Owed], leased_until: datetime) -> list[Claimed]:
    """Return those that were leased to their carrier as they were written."""
    leased = [one for one in owed if one.is_leased]
    to = _destinations(session, {one.endpoint_id for one in leased})
    return [
        Claimed(one.id, 1, one.endpoint_id, event.payout_id, event.id, leased_until, event.payload, to[one.endpoint_id])
        for one, event in ((one, one.event) for one in leased)
    ]


def release(session: Session, claimed: Sequence[Claimed], now: datetime) -> None:
    """Give back what was claimed and will not be attempted: as if it had never been claimed."""
    rows = [{"id": one.id, "number": one.number, "endpoint": one.endpoint_id} for one in claimed]
    session.connection().execute(_RELEASE, {"rows": as_json(rows), "now": now})


def successors(session: Session, finished: Sequence[Finished], now: datetime) -> list[str]:
    """Return the deliveries that have just become heads. Ask after the commit of `record`, or one could be missed."""
    pairs = {(one.claimed.endpoint_id, one.claimed.payout_id) for one in finished if one.claimed.payout_id}
    asked = as_json([{"endpoint": endpoint, "payout": payout} for endpoint, payout in pairs])
    return [row[0] for row in session.connection().execute(_SUCCESSORS, {"pairs": asked, "now": now})]


def sweep_due(session: Session, now: datetime, most: int) -> list[str]:
    """Return heads that are due and that nobody has attempted, for every endpoint its share of `most`.

    What is due only by its time, and waits behind another of its payout, is put off until that one's time.
    """
    return [row[0] for row in session.connection().execute(_SWEEP, {"now": now, "most": most})]


def most_overdue(session: Session, now: datetime, most: int = 1_000) -> datetime | None:
    """Return since when the delivery that has waited longest could have gone."""
    oldest: datetime | None = session.connection().execute(_MOST_OVERDUE, {"now": now, "most": most}).scalar_one()
    return oldest


def _by_endpoint(session: Session, ids: Sequence[str], now: datetime) -> list[tuple[str, Gate, list[str]]]:
    due: dict[str, tuple[Gate, list[str]]] = {}
    asked = {"ids": as_json(list(ids)), "now": now}
    for delivery_id, endpoint_id, breaker, rate_limit in session.connection().execute(_DUE_BY_ID, asked):
        if endpoint_id not in due:
            due[endpoint_id] = (Gate(Breaker(breaker), rate_limit), [])
        due[endpoint_id][1].append(delivery_id)
    return [(endpoint_id, gate, found) for endpoint_id, (gate, found) in due.items()]


def _take(session: Session, ids: Sequence[str], now: datetime) -> list[Claimed]:
    leased_until = now + LEASE
    asked = {"ids": as_json(ids), "now": now, "lease": leased_until}
    rows = session.connection().execute(_TAKE, asked).all()
    destinations = _destinations(session, {row[2] for row in rows})
    return [
        Claimed(delivery_id, number, endpoint_id, payout_id, event_id, leased_until, payload, destinations[endpoint_id])
        for delivery_id, number, endpoint_id, payout_id, event_id, payload in rows
    ]


def _destinations(session: Session, ids: Collection[str]) -> dict[str, Destination]:
    """Read each endpoint once, however many of its deliveries were claimed."""
    if not ids:
        return {}
    rows = session.connection().execute(_DESTINATIONS, {"ids": list(ids)})
    return {row.id: _destination(row) for row in rows}


def _destination(row: Any) -> Destination:
    schedule = None if row.retry_schedule is None else tuple(row.retry_schedule)
    return Destination(row.url, tuple(row.schemes), row.sealed, row.sealed_headers, schedule)


_THE_OLDER_ONE: Final = """(
    SELECT older.sequence FROM delivery older
    WHERE older.endpoint_id = d.endpoint_id AND older.payout_id = d.payout_id
        AND older.state = 'open' AND older.sequence < d.sequence ORDER BY older.sequence LIMIT 1
)"""
"""Not `EXISTS`: only its order tells the planner which index to take. By the other one it reads all that an endpoint is
owed, for every delivery, while statistics say that this is nothing."""
_NOBODYS: Final = "(d.leased_until IS NULL OR d.leased_until < :now)"
_MAY_GO: Final = f"(d.attempts = 0 OR d.next_attempt_at <= :now) AND {_NOBODYS}"
"""What was never attempted may go as soon as it is a head. Its time only tells the sweep when to look at it."""
_IS_DUE_BY_ID: Final = f"d.closed_at IS NULL AND {_MAY_GO}"
"""Open, in words that no partial index answers to. Statistics about what is open are old when they are needed, and with
them a claim of a hundred rows by id read the whole backlog instead."""
_MAY_BE_SENT_TO: Final = "p.is_enabled AND (p.not_before IS NULL OR p.not_before <= :now)"
_THESE: Final = "ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))))"

_DUE_BY_ID: Final = text(
    f"""
    SELECT d.id, d.endpoint_id, p.breaker, p.rate_limit
    FROM delivery d JOIN endpoint p ON p.id = d.endpoint_id AND {_MAY_BE_SENT_TO}
    WHERE d.id = {_THESE} AND {_IS_DUE_BY_ID} AND {_THE_OLDER_ONE} IS NULL ORDER BY d.next_attempt_at, d.id
    """  # noqa: S608 (fragments of this file)
)

_TAKE: Final = text(
    f"""
    WITH mine AS (
        SELECT d.id FROM delivery d WHERE d.id = {_THESE} AND {_IS_DUE_BY_ID} FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE delivery d SET leased_until = :lease, attempts = d.attempts + 1 FROM mine WHERE d.id = mine.id
        RETURNING d.id, d.attempts, d.endpoint_id, d.payout_id, d.event_id
    )
    SELECT c.*, coalesce(e.payload, n.payload) FROM claimed c
    LEFT JOIN payout_event e ON e.id = c.event_id LEFT JOIN notice n ON n.id = c.event_id AND c.payout_id IS NULL
    """  # noqa: S608 (fragments of this file)
)

_DESTINATIONS: Final = text(
    "SELECT id, url, schemes, sealed, sealed_headers, retry_schedule FROM endpoint WHERE id = ANY(:ids)"
)

_RELEASE: Final = text(
    """
    WITH r AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id text, number int, endpoint text)
    ), given_back AS (
        UPDATE delivery d SET leased_until = NULL, attempts = d.attempts - 1 FROM r
        WHERE d.id = r.id AND d.id = ANY(ARRAY(SELECT id FROM r)) AND d.closed_at IS NULL AND d.attempts = r.number
    )
    UPDATE endpoint SET not_before = :now
    WHERE id = ANY(ARRAY(SELECT DISTINCT endpoint FROM r)) AND breaker = 'half_open'
    """
)
"""A probe that is not made must not keep the next one waiting for its lease."""

_SUCCESSORS: Final = text(
    f"""
    SELECT d.id FROM jsonb_to_recordset(CAST(:pairs AS jsonb)) AS k (endpoint text, payout text)
    CROSS JOIN LATERAL (
        SELECT id, next_attempt_at, leased_until, attempts FROM delivery
        WHERE endpoint_id = k.endpoint AND payout_id = k.payout AND state = 'open' ORDER BY sequence LIMIT 1
    ) AS d WHERE {_MAY_GO}
    """  # noqa: S608 (fragments of this file)
)
"""The head of each queue, if it may go. One probe each: how many wait elsewhere does not matter."""

_DUE: Final = f"""
    RECURSIVE owed AS (
        SELECT (SELECT min(endpoint_id) FROM delivery WHERE state = 'open') AS id
        UNION ALL
        SELECT (SELECT min(d.endpoint_id) FROM delivery d WHERE d.state = 'open' AND d.endpoint_id > owed.id)
        FROM owed WHERE owed.id IS NOT NULL
    ), place AS MATERIALIZED (
        SELECT p.id, greatest(10, CAST(:most AS bigint) / count(*) OVER ()) AS share,
            CASE WHEN p.breaker <> 'closed' THEN 1 ELSE coalesce(p.rate_limit, CAST(:most AS bigint)) END AS most
        FROM owed JOIN endpoint p ON p.id = owed.id AND {_MAY_BE_SENT_TO}
        WHERE EXISTS (
            SELECT FROM delivery d WHERE d.endpoint_id = p.id AND d.state = 'open' AND d.next_attempt_at <= :now
        )
    ), due AS MATERIALIZED (
        SELECT d.*, place.most, row_number() OVER (
            PARTITION BY d.endpoint_id, d.older_at IS NULL ORDER BY d.next_attempt_at, d.id
        ) AS place
        FROM place CROSS JOIN LATERAL (
            SELECT d.id, d.endpoint_id, d.next_attempt_at, (
                SELECT older.next_attempt_at FROM delivery older
                WHERE older.endpoint_id = d.endpoint_id AND older.payout_id = d.payout_id
                    AND older.state = 'open' AND older.sequence < d.sequence ORDER BY older.sequence LIMIT 1
            ) AS older_at
            FROM delivery d
            WHERE d.endpoint_id = place.id AND d.state = 'open' AND d.next_attempt_at <= :now AND {_NOBODYS}
            ORDER BY d.next_attempt_at LIMIT place.share
        ) AS d
    )
"""  # noqa: S608 (fragments of this file)
"""What is due of each endpoint that is owed anything, the longest overdue first, its share at most.

From one endpoint to the next by the index, not through the rows: one with a long backlog, or one that may not be sent
to, costs as much as any other and stands in nobody's way.
"""

_SWEEP: Final = text(
    f"""
    WITH {_DUE}, parked AS (
        UPDATE delivery d SET next_attempt_at = greatest(due.older_at, :now + interval '1 minute') FROM due
        WHERE d.id = due.id AND due.older_at IS NOT NULL
            AND d.id = ANY(ARRAY(SELECT id FROM due WHERE older_at IS NOT NULL)) AND d.closed_at IS NULL
    )
    SELECT id FROM due WHERE older_at IS NULL AND place <= most
    ORDER BY place, next_attempt_at LIMIT CAST(:most AS bigint)
    """  # noqa: S608 (fragments of this file)
)

_MOST_OVERDUE: Final = text(f"WITH {_DUE} SELECT min(next_attempt_at) FROM due WHERE older_at IS NULL")  # noqa: S608
