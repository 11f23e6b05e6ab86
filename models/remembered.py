"""What idempotency remembers: an answer that was given under a partner's Idempotency-Key."""

from datetime import datetime

from sqlalchemy import PrimaryKeyConstraint
from sqlmodel import Field, SQLModel

from models.database import metadata


class RememberedAnswer(SQLModel, table=True, metadata=metadata):
    """One answer, written in the transaction of its effect, so that neither is there without the other."""

    __tablename__ = "remembered_answer"
    __table_args__ = (PrimaryKeyConstraint("organisation_id", "test_mode", "key"),)

    organisation_id: str
    """No foreign key: it costs every request that creates something a look-up, and organisations are never deleted."""
    test_mode: bool
    key: str
    """The partner's own word."""
    fingerprint: bytes = Field(repr=False)
    """Of method, path and body: the same key for something else is a conflict."""
    sealed: bytes = Field(repr=False)
    """Status, headers and body. Sealed, because an answer may show a secret, once."""
    payout_id: str | None = None
    """The payout it created: while that is in flight the answer is kept, however old."""
    created_at: datetime = Field(index=True)
