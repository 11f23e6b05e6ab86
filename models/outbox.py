"""Delivery (one event owed to one endpoint) and Attempt (one HTTP request for it)."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column, Identity, Index, text
from sqlmodel import Field, SQLModel

from models.database import metadata
from models.ids import new_id


class DeliveryState(StrEnum):
    """Whether anything is still owed."""

    OPEN = "open"
    DELIVERED = "delivered"
    DEAD = "dead"
    """We stopped trying; a person decides."""


class Delivery(SQLModel, table=True, metadata=metadata):
    """One payout event owed to one endpoint. Only the oldest open one of an (endpoint, payout) may be attempted."""

    __table_args__ = (
        Index("ix_delivery_open", "endpoint_id", "payout_id", "sequence", postgresql_where=text("state = 'open'")),
        Index("ix_delivery_due", "next_attempt_at", postgresql_where=text("state = 'open'")),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    id: str = Field(default_factory=lambda: new_id("dlv"), primary_key=True)
    endpoint_id: str
    payout_id: str
    event_id: str
    sequence: int
    state: str = Field(default=DeliveryState.OPEN, sa_column_kwargs={"server_default": "open"})
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    created_at: datetime
    next_attempt_at: datetime
    leased_until: datetime | None = None
    """While it is being attempted; once past, whoever held it is gone."""
    closed_at: datetime | None = None


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
