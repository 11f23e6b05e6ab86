"""A gateway's message exactly as it arrived, and what became of it."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column, Identity, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

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
    __table_args__ = (
        UniqueConstraint("integration_id", "event_key", "body_digest"),
        Index("ix_inbox_event_new", "id", postgresql_where=text("state = 'new'")),
        Index("ix_inbox_event_unmatched", "integration_id", "reference", postgresql_where=text("state = 'unmatched'")),
        Index(
            "ix_inbox_event_for_people",
            "id",
            postgresql_where=text("state IN ('unmatched', 'unreadable', 'conflict', 'poison')"),
        ),
        {"postgresql_with": {"fillfactor": "85"}},
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    integration_id: int
    """No foreign key here or on the other rows of the hot path: each costs a look-up and a lock per row, and
    integrations, payouts and endpoints are switched off, never deleted."""
    event_key: str
    body: bytes = Field(repr=False)
    body_digest: bytes = Field(repr=False)
    headers: bytes = Field(default=b"", repr=False)
    received_at: datetime
    state: str = Field(default=InboxState.NEW, sa_column_kwargs={"server_default": "new"})
    applied_at: datetime | None = None
    swept_at: datetime | None = None
    detail: str | None = None
    """Why it was set aside: a field's name or an error's class, never a value."""
    reference: str | None = None
    """Of an unmatched event: the gateway's id of the payout."""
    order_key: str | None = None
    """Of an unmatched event: our key, where the gateway echoed it."""
