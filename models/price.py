"""What quotes are made of: exchange rates and fees, kept by operators or by whatever feeds them."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, Numeric, UniqueConstraint
from sqlmodel import Field, SQLModel

import models.integration  # noqa: F401 (foreign keys need the tables they point at)
from models.database import metadata


class Rate(SQLModel, table=True, metadata=metadata):
    """How many `target` one `source` buys, from `set_at` on. The newest one counts; old ones are kept, not changed."""

    __table_args__ = (
        CheckConstraint("rate > 0", name="rate_positive"),
        Index("ix_rate_newest", "source", "target", "id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    source: str
    target: str
    rate: Decimal = Field(sa_column=Column(Numeric(38, 18), nullable=False))
    set_at: datetime
    set_by: str
    expires_at: datetime | None = None
    """After this nothing is quoted from it. A feed sets it, so that a feed that has died quotes nothing."""


class Fee(SQLModel, table=True, metadata=metadata):
    """What it costs to send `asset` by one integration and network, and how long it takes there."""

    __table_args__ = (
        UniqueConstraint("integration_id", "asset", "network"),
        CheckConstraint("percent >= 0 AND percent < 100", name="percent_sensible"),
        CheckConstraint("fixed_minor >= 0", name="fixed_not_negative"),
        CheckConstraint("estimated_seconds > 0", name="estimate_positive"),
    )

    id: int | None = Field(default=None, primary_key=True)
    integration_id: int = Field(foreign_key="integration.id")
    asset: str
    network: str = ""
    """Empty where there is only one way."""
    percent: Decimal = Field(sa_column=Column(Numeric(9, 6), nullable=False))
    """Of what is sent."""
    fixed_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    """In minor units of `asset`."""
    estimated_seconds: int
    """From submission to arrival; what was seen of late takes its place once there is enough of it."""
    updated_at: datetime
