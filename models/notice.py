"""Notice: an event that is about an endpoint, not about a payout."""

from datetime import datetime
from typing import Final

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from models.database import metadata
from models.ids import new_id

DISABLED: Final = "endpoint.disabled"
"""We have switched an endpoint off; its organisation's other endpoints hear of it."""
PING: Final = "endpoint.ping"
"""Somebody wants to see whether the endpoint hears."""


class Notice(SQLModel, table=True, metadata=metadata):
    """What partners receive about an endpoint of theirs, word for word; an event as much as a `PayoutEvent`.

    Its deliveries are those of the outbox with no payout to wait for.
    """

    __table_args__ = (
        Index("ix_notice_mail", "next_mail_at", postgresql_where=text("next_mail_at IS NOT NULL")),
        Index("ix_notice_organisation_id", "organisation_id", "id"),
    )

    id: str = Field(default_factory=lambda: new_id("evt"), primary_key=True)
    organisation_id: str
    endpoint_id: str
    """The endpoint that it is about."""
    type: str
    test_mode: bool
    created_at: datetime
    payload: str = Field(repr=False)
    """The JSON body, made once."""
    next_mail_at: datetime | None = None
    """When a letter about it is due, or None: nobody is written to, or it has been sent or given up."""
    mail_attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    mailed_at: datetime | None = None
