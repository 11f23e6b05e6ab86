"""Deliveries: who may be attempted now, what an attempt has done, and when the next one is due.

Only the oldest open delivery of an (endpoint, payout) may be attempted: partners hear about one payout in order, and
a partner that refuses one payout's event delays that payout alone.
"""

import random
from base64 import b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from models.outbox import DeliveryState
from payouts.standing import as_json
from settings import settings

RETRY_AFTER: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""After the n-th failed attempt; the first is at once. Standard Webhooks' schedule, a little over three days."""

MOST_ATTEMPTS: Final = len(RETRY_AFTER) + 1
JITTER: Final = 0.2
"""Up to a fifth later, so that a partner that comes back is not met by everything at once."""

LEASE: Final = timedelta(seconds=45)
"""How long a claimed delivery belongs to its worker. Above the time-out of an attempt and the wait for its turn."""


class Outcome(StrEnum):
    """What one attempt has come to."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """An answer other than 2xx; redirects are never followed."""
    UNREACHABLE = "unreachable"
    FORBIDDEN = "forbidden"
    """The address may not be dialled."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an endpoint's webhooks go and how they are signed: one for all that is claimed of it at a time."""

    url: str = field(repr=False)
    schemes: tuple[str, ...]
    sealed: bytes = field(repr=False)
    sealed_headers: bytes | None = field(default=None, repr=False)
    retry_schedule: tuple[int, ...] | None = None
    """Seconds; None is the usual one."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """One delivery that this worker may attempt once, until its lease ends."""

    id: str
    number: int
    """Of the attempt, from 1."""
    endpoint_id: str
    payout_id: str | None
    event_id: str
    leased_until: datetime
    payload: str = field(repr=False)
    to: Destination


@dataclass(frozen=True, slots=True)
class Finished:
    """One attempt, over."""

    claimed: Claimed
    outcome: Outcome
    started_at: datetime
    duration_ms: int
    status_code: int | None = None
    answer: bytes = field(default=b"", repr=False)
    error: str | None = None


def claim(session: Session, ids: Sequence[str], now: datetime) -> list[Claimed]:
    """Lease those of these deliveries that are due heads and that nobody else holds."""
    leased_until = now + LEASE
    asked = {"ids": as_json(list(ids)), "now": now, "lease": leased_until}
    rows = session.connection().execute(_CLAIM, asked).all()
    destinations = _destinations(session, {row.endpoint_id for row in rows})
    return [
        Claimed(
            row.id,
            row.attempts,
            row.endpoint_id,
            row.payout_id,
            row.event_id,
            leased_until,
            row.payload,
            destinations[row.endpoint_id],
        )
        for row in rows
    ]


def _destinations(session: Session, ids: Collection[str]) -> dict[str, Destination]:
    """Read each endpoint once, however many of its deliveries were claimed."""
    if not ids:
        return {}
    rows = session.connection().execute(_DESTINATIONS, {"ids": list(ids)})
    return {
        row.id: Destination(
            row.url,
            tuple(row.schemes),
            row.sealed,
            row.sealed_headers,
            None if row.retry_schedule is None else tuple(row.retry_schedule),
        )
        for row in rows
    }


def record(session: Session, finished: Sequence[Finished], now: datetime) -> None:
    """Log the attempts, and close or reschedule their deliveries."""
    rows = []
    for one in finished:
        state, next_at = _what_next(one, now)
        rows.append(
            {
                "delivery_id": one.claimed.id,
                "number": one.claimed.number,
                "started_at": one.started_at,
                "duration_ms": one.duration_ms,
                "outcome": one.outcome,
                "status_code": one.status_code,
                "answer": b64encode(one.answer).decode() if one.answer else None,
                "error": one.error,
                "state": state,
                "next_attempt_at": next_at,
            }
        )
    session.connection().execute(_RECORD, {"rows": as_json(rows), "now": now})


def successors(session: Session, finished: Sequence[Finished], now: datetime) -> list[str]:
    """Return the deliveries that have just become heads. Ask after the commit of `record`, or one could be missed."""
    pairs = {(one.claimed.endpoint_id, one.claimed.payout_id) for one in finished if one.claimed.payout_id}
    asked = as_json([{"endpoint": endpoint, "payout": payout} for endpoint, payout in pairs])
    return [row[0] for row in session.connection().execute(_SUCCESSORS, {"pairs": asked, "now": now})]


def retry_after(number: int, schedule: Sequence[int] | None = None) -> timedelta | None:
    """Return the wait after failed attempt `number` (from 1), jittered, or None after the last.

    `schedule` is an endpoint's own, in seconds.
    """
    waits = RETRY_AFTER if schedule is None else tuple(timedelta(seconds=seconds) for seconds in schedule)
    if number > len(waits):
        return None
    spread = random.uniform(1.0, 1 + JITTER)  # noqa: S311 (spreads load, guards nothing)
    return waits[number - 1] * (spread * settings().retry_scale)


def _what_next(one: Finished, now: datetime) -> tuple[DeliveryState, datetime]:
    if one.outcome is Outcome.DELIVERED:
        return DeliveryState.DELIVERED, now
    wait = retry_after(one.claimed.number, one.claimed.to.retry_schedule)
    return (DeliveryState.DEAD, now) if wait is None else (DeliveryState.OPEN, now + wait)


_IS_HEAD: Final = """NOT EXISTS (
        SELECT FROM delivery older WHERE older.endpoint_id = d.endpoint_id AND older.payout_id = d.payout_id
            AND older.state = 'open' AND older.sequence < d.sequence
    )"""

_MAY_GO: Final = "d.next_attempt_at <= :now AND (d.leased_until IS NULL OR d.leased_until < :now)"
_IS_DUE: Final = f"d.state = 'open' AND {_MAY_GO}"
_IS_DUE_BY_ID: Final = f"d.closed_at IS NULL AND {_MAY_GO}"
"""The same in words that no partial index answers to. Statistics about what is open are old when they are needed, and
with them a claim of a hundred rows by id read the whole backlog instead."""

_CLAIM: Final = text(
    f"""
    WITH head AS (
        SELECT d.id FROM delivery d JOIN endpoint p ON p.id = d.endpoint_id AND p.is_enabled
        WHERE d.id = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))))
            AND {_IS_DUE_BY_ID} AND {_IS_HEAD}
        FOR UPDATE OF d SKIP LOCKED
    ), claimed AS (
        UPDATE delivery d SET leased_until = :lease, attempts = d.attempts + 1 FROM head WHERE d.id = head.id
        RETURNING d.id, d.attempts, d.endpoint_id, d.payout_id, d.event_id
    )
    SELECT c.*, coalesce(e.payload, n.payload) AS payload FROM claimed c
    LEFT JOIN payout_event e ON e.id = c.event_id LEFT JOIN notice n ON n.id = c.event_id AND c.payout_id IS NULL
    """  # noqa: S608 (fragments of this file)
)

_DESTINATIONS: Final = text(
    "SELECT id, url, schemes, sealed, sealed_headers, retry_schedule FROM endpoint WHERE id = ANY(:ids)"
)

_SUCCESSORS: Final = text(
    f"""
    SELECT d.id FROM jsonb_to_recordset(CAST(:pairs AS jsonb)) AS k (endpoint text, payout text)
    CROSS JOIN LATERAL (
        SELECT id, next_attempt_at, leased_until FROM delivery
        WHERE endpoint_id = k.endpoint AND payout_id = k.payout AND state = 'open' ORDER BY sequence LIMIT 1
    ) AS d WHERE {_MAY_GO}
    """  # noqa: S608 (fragments of this file)
)
"""The head of each queue, if it may go. One probe each: how many wait elsewhere does not matter."""

DUE_HEADS: Final = text(
    f"""
    SELECT d.id FROM delivery d JOIN endpoint p ON p.id = d.endpoint_id AND p.is_enabled
    WHERE {_IS_DUE} AND {_IS_HEAD} ORDER BY d.next_attempt_at LIMIT :most
    """  # noqa: S608
)
"""For the sweep: heads that are due and that nobody has attempted."""

_RECORD: Final = text(
    """
    WITH f AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS f (
            delivery_id text, number int, started_at timestamptz, duration_ms int, outcome text, status_code int,
            answer text, error text, state text, next_attempt_at timestamptz
        )
    ), logged AS (
        INSERT INTO attempt (delivery_id, number, started_at, duration_ms, outcome, status_code, answer, error)
        SELECT delivery_id, number, started_at, duration_ms, outcome, status_code, decode(answer, 'base64'), error
        FROM f
    )
    UPDATE delivery d SET state = f.state, next_attempt_at = f.next_attempt_at, leased_until = NULL,
        closed_at = CASE WHEN f.state <> 'open' THEN :now END
    FROM f WHERE d.id = f.delivery_id AND d.id = ANY(ARRAY(SELECT delivery_id FROM f)) AND d.closed_at IS NULL
        AND (f.state = 'delivered' OR d.attempts = f.number)
    """
)
"""A failure of an attempt whose lease ran out says nothing about the attempt that came after it: it is only logged."""
