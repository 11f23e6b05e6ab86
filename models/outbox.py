"""Delivery (one event owed to one endpoint) and Attempt (one HTTP request for it)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import orjson
from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, text
from sqlmodel import Field, Session, SQLModel

from models.database import metadata
from models.ids import new_id


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


@dataclass(frozen=True, slots=True)
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


def fan_out(session: Session, announcements: Sequence[Announcement], now: datetime) -> list[str]:
    """Write the payout events and one delivery per subscribed endpoint. Returns the deliveries' ids."""
    if not announcements:
        return []
    session.connection().execute(_WRITE_EVENTS, {"rows": _as_json(announcements), "now": now})
    organisations = list({announcement.organisation_id for announcement in announcements})
    subscribed: dict[tuple[str, bool], list[tuple[str, list[str] | None]]] = {}
    for organisation_id, test_mode, *hearer in session.connection().execute(_SUBSCRIBED, {"ids": organisations}):
        subscribed.setdefault((organisation_id, test_mode), []).append((hearer[0], hearer[1]))
    owed = [
        (new_id("dlv"), endpoint_id, announcement)
        for announcement in announcements
        for endpoint_id, types in subscribed.get((announcement.organisation_id, announcement.test_mode), ())
        if types is None or f"payout.{announcement.status}" in types
    ]
    if owed:
        rows = [
            {
                "id": delivery_id,
                "endpoint": endpoint_id,
                "payout": event.payout_id,
                "event": event.id,
                "n": event.sequence,
            }
            for delivery_id, endpoint_id, event in owed
        ]
        session.connection().execute(_OWE, {"rows": _as_json(rows), "now": now})
    return [delivery_id for delivery_id, _, _ in owed]


def _as_json(rows: Sequence[Any]) -> str:
    return orjson.dumps(rows, default=datetime.isoformat).decode()


_WRITE_EVENTS: Final = text(
    """
    INSERT INTO payout_event (
        id, payout_id, organisation_id, test_mode, sequence, previous_status, status, source, occurred_at, created_at,
        payload
    )
    SELECT id, payout_id, organisation_id, test_mode, sequence, previous_status, status, source, occurred_at, :now,
        payload
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e (
        id text, payout_id text, organisation_id text, test_mode boolean, sequence int, previous_status text,
        status text, source text, occurred_at timestamptz, payload text
    )
    """
)

_SUBSCRIBED: Final = text(
    "SELECT organisation_id, test_mode, id, event_types FROM endpoint WHERE organisation_id = ANY(:ids) AND is_enabled"
)

_OWE: Final = text(
    """
    INSERT INTO delivery (id, endpoint_id, payout_id, event_id, sequence, created_at, next_attempt_at)
    SELECT d.*, :now, :now
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS d (id text, endpoint text, payout text, event text, n int)
    """
)
