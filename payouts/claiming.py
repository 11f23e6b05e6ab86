"""Who may be attempted now: claimed by id, found by the sweep, given back when there is no time for them after all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from models.endpoint import Breaker
from models.outbox import Owed
from payouts.deliveries import HEADS_TIME, IS_OPEN, LEASE, MAY_BE_SENT_TO, MAY_GO, Claimed, Finished
from payouts.gates import Gate, admit
from payouts.standing import as_json
from payouts.targets import targets

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
    due = _by_endpoint(session, ids, now)
    for endpoint_id, one in due.items():
        most = len(one.ids) if room is None else max(0, min(len(one.ids), room(endpoint_id)))
        if one.gate.stands_open:
            chosen += one.ids[:most]
            if most < len(one.ids):
                claims.waiting[endpoint_id] = one.ids[most:]
        elif most:
            one.gate.asking = one.ids[:most]
            gates[endpoint_id] = one.gate
    if gates:
        chosen += admit(session, gates, now, now + LEASE)
    if chosen:
        versions = {endpoint_id: one.version for endpoint_id, one in due.items()}
        claims.claimed = _take(session, chosen, versions, now)
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
    rows = [{"id": one.id, "number": one.number, "endpoint": one.endpoint_id} for one in claimed]
    session.connection().execute(_RELEASE, {"rows": as_json(rows), "now": now})


def successors(session: Session, finished: Sequence[Finished], now: datetime) -> list[str]:
    """Return the deliveries that have just become heads. Ask after the commit of `record`, or one could be missed."""
    pairs = {(one.claimed.endpoint_id, one.claimed.payout_id) for one in finished if one.claimed.payout_id}
    asked = as_json([{"endpoint": endpoint, "payout": payout} for endpoint, payout in pairs])
    return [row[0] for row in session.connection().execute(_SUCCESSORS, {"pairs": asked, "now": now})]


@dataclass(slots=True)
class _Due:
    """What is due of one endpoint, and its row's version."""

    gate: Gate
    version: str
    ids: list[str] = field(default_factory=list)


def _by_endpoint(session: Session, ids: Sequence[str], now: datetime) -> dict[str, _Due]:
    due: dict[str, _Due] = {}
    asked = {"ids": as_json(list(ids)), "now": now}
    for delivery_id, endpoint_id, breaker, rate_limit, version in session.connection().execute(DUE_BY_ID, asked):
        found = due.get(endpoint_id)
        if found is None:
            found = due[endpoint_id] = _Due(Gate(Breaker(breaker), rate_limit), version)
        found.ids.append(delivery_id)
    return due


def _take(session: Session, ids: Sequence[str], versions: Mapping[str, str], now: datetime) -> list[Claimed]:
    leased_until = now + LEASE
    asked = {"ids": as_json(ids), "now": now, "lease": leased_until}
    rows = session.connection().execute(TAKE, asked).all()
    if bare := [row[0] for row in rows if row[5] is None]:  # pruned in the very moment it was asked for again
        session.connection().execute(_BURY, {"ids": bare, "now": now})
        rows = [row for row in rows if row[5] is not None]
    to = targets(session, {row[2]: versions[row[2]] for row in rows})
    return [
        Claimed(delivery_id, number, endpoint_id, payout_id, event_id, leased_until, payload, to[endpoint_id])
        for delivery_id, number, endpoint_id, payout_id, event_id, payload in rows
    ]


_IS_DUE_BY_ID: Final = f"{IS_OPEN} AND {MAY_GO}"
_THESE: Final = "ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))))"

DUE_BY_ID: Final = text(
    f"""
    SELECT d.id, d.endpoint_id, p.breaker, p.rate_limit, CAST(p.xmin AS text)
    FROM delivery d JOIN endpoint p ON p.id = d.endpoint_id AND {MAY_BE_SENT_TO}
    WHERE d.id = {_THESE} AND {_IS_DUE_BY_ID} AND {HEADS_TIME} IS NULL ORDER BY d.next_attempt_at, d.id
    """  # noqa: S608 (fragments of this file)
)

TAKE: Final = text(
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

_BURY: Final = text("UPDATE delivery SET state = 'dead', closed_at = :now, leased_until = NULL WHERE id = ANY(:ids)")

_RELEASE: Final = text(
    f"""
    WITH r AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id text, number int, endpoint text)
    ), given_back AS (
        UPDATE delivery d SET leased_until = NULL, attempts = d.attempts - 1 FROM r
        WHERE d.id = r.id AND d.id = ANY(ARRAY(SELECT id FROM r)) AND {IS_OPEN} AND d.attempts = r.number
    )
    UPDATE endpoint SET not_before = :now
    WHERE id = ANY(ARRAY(SELECT DISTINCT endpoint FROM r)) AND breaker = 'half_open'
    """  # noqa: S608 (fragments of our own)
)
"""A probe that is not made must not keep the next one waiting for its lease."""

_SUCCESSORS: Final = text(
    f"""
    SELECT d.id FROM jsonb_to_recordset(CAST(:pairs AS jsonb)) AS k (endpoint text, payout text)
    CROSS JOIN LATERAL (
        SELECT id, next_attempt_at, leased_until, attempts FROM delivery
        WHERE endpoint_id = k.endpoint AND payout_id = k.payout AND closed_at IS NULL ORDER BY sequence LIMIT 1
    ) AS d WHERE {MAY_GO}
    """  # noqa: S608 (fragments of this file)
)
"""The head of each queue, if it may go. One probe each: how many wait elsewhere does not matter."""
