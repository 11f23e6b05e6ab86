"""Kill switches: what may not be paid out for now, who said so, why, and until when."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from models.database import metadata
from models.ids import new_id


class SwitchScope(StrEnum):
    """What a switch stops."""

    EVERYTHING = "everything"
    GATEWAY = "gateway"
    """Every integration of one connector."""
    INTEGRATION = "integration"
    CURRENCY = "currency"
    PARTNER = "partner"
    """Every payout of one organisation."""


class Switch(SQLModel, table=True, metadata=metadata):
    """One throw of a switch. It holds until it is lifted or its time is over, and stays on record afterwards."""

    __table_args__ = (
        CheckConstraint("(scope = 'everything') = (target IS NULL)", name="everything_has_no_target"),
        Index("ix_switch_not_lifted", "scope", "target", postgresql_where=text("lifted_at IS NULL")),
    )

    id: str = Field(default_factory=lambda: new_id("swi"), primary_key=True)
    scope: str
    target: str | None = None
    """A connector's name, an integration's slug, a currency or an organisation's id."""
    reason: str
    thrown_by: str
    thrown_at: datetime
    until: datetime | None = None
    """From then on it holds nothing any more; None: until it is lifted."""
    lifted_by: str | None = None
    lifted_at: datetime | None = None
