"""What the internal caller asked for and was answered, so that asking again gives the same answer."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.database import metadata


class InternalRequest(SQLModel, table=True, metadata=metadata):
    """One attempt at paying out one transaction of the internal caller."""

    __tablename__ = "internal_request"

    tx_id: str = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    payout_id: str
    asked: bytes = Field(repr=False)
    """Sealed: whom the money goes to is in it."""
    answer: str = Field(repr=False)
    created_at: datetime
