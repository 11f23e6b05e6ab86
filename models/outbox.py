"""Delivery (one event owed to one endpoint) and Attempt (one HTTP request for it)."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, text
from sqlmodel import Field, Session, SQLModel

from models.database import Quick, metadata
from models.ids import RANDOM_BYTES, new_id
from models.rows import Rows, as_json


class DeliveryState(StrEnum):
    """Whether anything is still owed."""

    OPEN = "open"
    DELIVERED = "delivered"
    DEAD = "dead"
    """We stopped trying; a person decides."""
    DROPPED = "dropped"
    """Its endpoint was deleted before it could be delivered."""
    REPLACED = "replaced"
    """It was dead, and then a redelivery or a recovery took its place."""


class Delivery(SQLModel, table=True, metadata=metadata):
    """One event owed to one endpoint. Only the oldest open one of an (endpoint, payout) may be attempted."""

    __table_args__ = (
        # One fact, two words, each with an index of its own (payouts/deliveries.py says why): they must never differ.
        CheckConstraint("(state = 'open') = (closed_at IS NULL)", name="open_until_closed"),
        Index("ix_delivery_open", "endpoint_id", "payout_id", "sequence", postgresql_where=text("closed_at IS NULL")),
        Index("ix_delivery_due", "endpoint_id", "next_attempt_at", postgresql_where=text("state = 'open'")),
        Index("ix_delivery_dead", "endpoint_id", "id", postgresql_where=text("state = 'dead'")),
        # Partners look from the end of an endpoint's history, and for what became of one event.
        Index("ix_delivery_endpoint", "endpoint_id", "id"),
        Index("ix_delivery_event", "event_id"),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    id: str = Field(default_factory=lambda: new_id("dlv"), primary_key=True)
    endpoint_id: str
    payout_id: str | None = None
    """None for what waits for no other delivery and keeps none waiting: a notice, a redelivery that was asked for."""
    event_id: str
    """Of a `PayoutEvent`, or of a `Notice`."""
    sequence: int
    state: str = Field(default=DeliveryState.OPEN, sa_column_kwargs={"server_default": "open"})
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    created_at: datetime
    next_attempt_at: datetime
    leased_until: datetime | None = None
    """While it is being attempted; once past, whoever held it is gone."""
    closed_at: datetime | None = None
    redelivery_of: str | None = None
    """The delivery that somebody wanted to be made again."""
    recovery_id: str | None = None
    """The recovery that found it missing."""


class Attempt(SQLModel, table=True, metadata=metadata):
    """One HTTP request for one delivery."""

    __table_args__ = (Index("ix_attempt_delivery", "delivery_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    delivery_id: str
    number: int
    started_at: datetime
    duration_ms: int
    outcome: str
    """delivered, refused (an answer other than 2xx), unreachable, or forbidden (the address may not be dialled)."""
    status_code: int | None = None
    answer: bytes | None = Field(default=None, repr=False)
    """The first bytes of the answer."""
    error: str | None = None


@dataclass(slots=True)
class Announcement:
    """One payout event about to be written, and whose partner must hear of it."""

    id: str
    payout_id: str
    organisation_id: str
    test_mode: bool
    sequence: int
    previous_status: str | None
    status: str
    source: str
    occurred_at: datetime | None
    payload: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Carrier:
    """Somebody at hand who takes deliveries as they are written, so that they need not be looked for and claimed."""

    room: Callable[[str], int]
    """How many more deliveries of an endpoint can be taken."""
    leased_until: datetime


@dataclass(slots=True)
class Owed:
    """One delivery just written."""

    id: str
    endpoint_id: str
    event: Announcement
    is_leased: bool = False
    """Whether the carrier has it. Otherwise it is to be claimed."""
    is_awaited: bool = False
    """Whether the carrier would have it and has no room now: it claims it when there is some."""


def fan_out(
    session: Session, announcements: Sequence[Announcement], now: datetime, carrier: Carrier | None = None
) -> list[Owed]:
    """Write the payout events and one delivery per subscribed endpoint. The payouts must be locked."""
    if not announcements:
        return []
    if carrier is None:
        return _owe_all(session, announcements, now)
    _WRITE_EVENTS.run(session, {"rows": as_json(list(map(_as_event, announcements))), "now": now})
    rows: list[tuple[Any, ...]] = []
    owed: list[Owed] = []
    places = _Places(carrier)
    subscribed = _subscribed(session, {announcement.organisation_id for announcement in announcements}, now)
    for event in announcements:
        for endpoint in subscribed.get((event.organisation_id, event.test_mode), ()):
            if endpoint.event_types is None or f"payout.{event.status}" in endpoint.event_types:
                one = Owed(new_id("dlv"), endpoint.id, event)
                may = False
                if endpoint.is_clear and places.is_first(one):
                    may = places.take(endpoint.id)
                    one.is_awaited = not may
                rows.append((one.id, one.endpoint_id, event.payout_id, event.id, event.sequence, may))
                owed.append(one)
    if not rows:
        return []
    asked = {"rows": as_json(rows), "now": now, "lease": carrier.leased_until}
    leased = {row[0] for row in _OWE.run(session, asked).fetchall() if row[1]}
    for one in owed:
        one.is_leased = one.id in leased
    return owed


def _owe_all(session: Session, announcements: Sequence[Announcement], now: datetime) -> list[Owed]:
    """Write events and deliveries in one statement, where nobody is at hand to take any."""
    events = {event.id: event for event in announcements}
    stamp = new_id("dlv")[: -2 * RANDOM_BYTES]
    asked = {"rows": as_json(list(map(_as_event, announcements))), "now": now, "stamp": stamp}
    return [Owed(row.id, row.endpoint_id, events[row.event_id]) for row in _TELL.run(session, asked)]


class _Places:
    """What the carrier can still take. Of one payout and endpoint only the oldest may go."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._left: dict[str, int] = {}
        self._queues: set[tuple[str, str]] = set()

    def is_first(self, one: Owed) -> bool:
        before = len(self._queues)
        self._queues.add((one.endpoint_id, one.event.payout_id))
        return len(self._queues) > before

    def take(self, endpoint_id: str) -> bool:
        left = self._left.get(endpoint_id)
        if left is None:
            left = self._carrier.room(endpoint_id)
        self._left[endpoint_id] = left - 1
        return left > 0


def _subscribed(session: Session, organisations: Collection[str], now: datetime) -> dict[tuple[str, bool], list[Any]]:
    """Return the endpoints that hear of payouts, by organisation and mode."""
    subscribed: dict[tuple[str, bool], list[Any]] = {}
    for row in _SUBSCRIBED.run(session, {"ids": list(organisations), "now": now}):
        subscribed.setdefault((row.organisation_id, row.test_mode), []).append(row)
    return subscribed


_EVENTS: Final = Rows(
    id="text", payout_id="text", organisation_id="text", test_mode="boolean", sequence="int", previous_status="text",
    status="text", source="text", occurred_at="timestamptz", payload="text",
)  # fmt: skip
_as_event: Final = attrgetter(*_EVENTS.names)

_INSERT_EVENTS: Final = f"""
    INSERT INTO payout_event ({_EVENTS.listed}, created_at) SELECT {_EVENTS.listed}, :now FROM {_EVENTS.table} AS e
"""  # noqa: S608 (fragments of our own)
_WRITE_EVENTS: Final = Quick(_INSERT_EVENTS)

_TELL: Final = Quick(
    f"""
    WITH e AS ({_INSERT_EVENTS} RETURNING id, payout_id, organisation_id, test_mode, sequence, status)
    INSERT INTO delivery (id, endpoint_id, payout_id, event_id, sequence, created_at, next_attempt_at)
    SELECT :stamp || left(CAST(gen_random_uuid() AS text), {RANDOM_BYTES})
        || right(CAST(gen_random_uuid() AS text), {RANDOM_BYTES}), p.id, e.payout_id, e.id, e.sequence, :now, :now
    FROM e JOIN endpoint p ON p.organisation_id = e.organisation_id AND p.test_mode = e.test_mode AND p.is_enabled
        AND (p.event_types IS NULL OR 'payout.' || e.status = ANY(p.event_types))
    RETURNING id, endpoint_id, event_id
    """  # noqa: S608 (fragments of this file)
)
"""The ids are as `new_id` makes them: the time, and as much that nobody can guess.

Of a UUID only both ends, a half from each of two: in its middle some bits say what kind of UUID it is.
"""

_SUBSCRIBED: Final = Quick(
    """
    SELECT organisation_id, test_mode, id, event_types,
        breaker = 'closed' AND rate_limit IS NULL AND (not_before IS NULL OR not_before <= :now) AS is_clear
    FROM endpoint WHERE organisation_id = ANY(:ids) AND is_enabled
    """
)

_OWED: Final = Rows(id="text", endpoint="text", payout="text", event="text", n="int", may="boolean")
_OWE: Final = Quick(
    f"""
    INSERT INTO delivery (
        id, endpoint_id, payout_id, event_id, sequence, created_at, next_attempt_at, leased_until, attempts
    )
    SELECT d.id, d.endpoint, d.payout, d.event, d.n, :now, :now,
        CASE WHEN d.may AND older.n IS NULL THEN CAST(:lease AS timestamptz) END,
        CASE WHEN d.may AND older.n IS NULL THEN 1 ELSE 0 END
    FROM {_OWED.table} AS d LEFT JOIN LATERAL (
        SELECT sequence AS n FROM delivery
        WHERE endpoint_id = d.endpoint AND payout_id = d.payout AND closed_at IS NULL ORDER BY sequence LIMIT 1
    ) AS older ON d.may
    RETURNING id, leased_until IS NOT NULL
    """  # noqa: S608 (a fragment of our own)
)
"""One that waits behind another of its payout is claimed when that one is done, like any other."""
