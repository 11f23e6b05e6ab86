"""Quote: a price that holds for a minute and pays once."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Numeric
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

import models.integration
import models.organisation  # noqa: F401 (foreign keys need the tables they point at)
from models.database import metadata
from models.ids import new_id


class Quote(SQLModel, table=True, metadata=metadata):
    """What one payout would cost, by which route, until `expires_at`. Used by whoever sets `used_at` first."""

    __table_args__ = (
        CheckConstraint("send_minor > 0 AND get_minor > 0 AND fee_minor >= 0", name="amounts_positive"),
        CheckConstraint("(used_at IS NULL) = (payout_id IS NULL)", name="used_by_a_payout"),
        Index("ix_quote_expires_at", "expires_at"),
    )

    id: str = Field(default_factory=lambda: new_id("quo"), primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id")
    test_mode: bool
    asset: str
    send_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    """What the partner pays, fees included, in `asset`."""
    fee_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Of that, ours."""
    fees: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    """Itemised: code and amount_minor; they add up to `fee_minor`."""
    currency: str
    get_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    """What the beneficiary gets, in `currency`."""
    rate: Decimal | None = Field(default=None, sa_column=Column(Numeric(38, 18)))
    """How many `currency` one `asset` buys; None where they are the same."""
    integration_id: int = Field(foreign_key="integration.id")
    network: str
    estimated_seconds: int
    details: bytes = Field(repr=False)
    """Sealed: where it goes, as the gateway wants it."""
    mode: str
    """How it travels, as the payout will say."""
    destination_label: str | None = None
    """What of that may be shown."""
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    payout_id: str | None = None
