"""A gateway's message exactly as it arrived, and where it stands: new, set aside, or applied.

What arrived is written once and never again: it is the largest table, and an update would copy a body to change a word.
An event is new while `inbox_new` names it, set aside while `inbox_set_aside` does, and applied once neither does.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import BigInteger, Column, Identity, Index, UniqueConstraint, text
from sqlmodel import Field, Session, SQLModel

from models.database import metadata


class InboxState(StrEnum):
    """What became of an inbox event."""

    NEW = "new"
    """Committed, not applied yet."""
    APPLIED = "applied"
    """Its evidence is on record, or it was about something else than payouts."""
    UNMATCHED = "unmatched"
    """It speaks of a payout we do not know (yet)."""
    UNREADABLE = "unreadable"
    """Verified, but its words or its form are unknown: for a person."""
    CONFLICT = "conflict"
    """The gateway sent another body under an event key that we had already: an alarm, never applied."""
    POISON = "poison"
    """Applying it fails on our side: for an engineer, then `ratchet inbox reapply`."""


class InboxEvent(SQLModel, table=True, metadata=metadata):
    """One verified webhook. Unverified ones are never stored."""

    __tablename__ = "inbox_event"
    __table_args__ = (UniqueConstraint("integration_id", "event_key", "body_digest"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    integration_id: int
    """No foreign key here or on the other rows of the hot path: each costs a look-up and a lock per row, and
    integrations, payouts and endpoints are switched off, never deleted."""
    event_key: str
    body: bytes = Field(repr=False)
    body_digest: bytes = Field(repr=False)
    header_lines: bytes = Field(default=b"", repr=False)
    received_at: datetime


class NewEvent(SQLModel, table=True, metadata=metadata):
    """An inbox event that waits to be applied: written with it, deleted by the transaction that applies it."""

    __tablename__ = "inbox_new"

    event_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    received_at: datetime
    swept_at: datetime | None = None


class SetAsideEvent(SQLModel, table=True, metadata=metadata):
    """An inbox event that was not applied, and why."""

    __tablename__ = "inbox_set_aside"
    __table_args__ = (
        Index(
            "ix_inbox_set_aside_unmatched",
            "integration_id",
            "reference",
            postgresql_where=text("state = 'unmatched'"),
        ),
    )

    event_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    integration_id: int
    state: str
    set_aside_at: datetime
    detail: str
    """Why: a field's name or an error's class, never a value."""
    reference: str | None = None
    """Of an unmatched event: the gateway's id of the payout."""
    order_key: str | None = None
    """Of an unmatched event: our key, where the gateway echoed it."""


STATE: Final = """coalesce(
    (SELECT state FROM inbox_set_aside WHERE event_id = e.id),
    (SELECT 'new' FROM inbox_new WHERE event_id = e.id),
    'applied'
)"""
"""Where `inbox_event e` stands."""


def renewing(which: str) -> str:
    """Return the statement that makes events which were set aside new again, and returns their ids.

    `which` is a query for their ids; it may lock them.
    """
    return f"""
        WITH freed AS (DELETE FROM inbox_set_aside WHERE event_id = ANY(ARRAY({which})) RETURNING event_id)
        INSERT INTO inbox_new (event_id, received_at)
        SELECT e.id, e.received_at FROM freed CROSS JOIN LATERAL (
            SELECT id, received_at FROM inbox_event WHERE id = freed.event_id LIMIT 1
        ) AS e RETURNING event_id
    """  # noqa: S608 (queries of our own)


def state_of(session: Session, event_id: int) -> InboxState:
    """Return where an event stands."""
    found = text(f"SELECT {STATE} FROM inbox_event e WHERE id = :id")  # noqa: S608 (a fragment of our own)
    return InboxState(session.connection().execute(found, {"id": event_id}).scalar_one())
