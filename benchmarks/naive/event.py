"""The inbox as the naive way has it: what became of an event is a column of it."""

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Column, Identity
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from models.inbox import InboxState

ALTERED: Final = (
    "ALTER TABLE inbox_event ADD state text NOT NULL DEFAULT 'new', ADD applied_at timestamptz",
    "CREATE INDEX ix_inbox_event_state_new ON inbox_event (id) WHERE state = 'new'",
)
"""What makes a real database a naive one."""


class _Naive(SQLModel, registry=registry()):
    """Tables apart from the real ones."""


class NaiveEvent(_Naive, table=True):
    """One verified webhook."""

    __tablename__ = "inbox_event"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    integration_id: int
    event_key: str
    body: bytes = Field(repr=False)
    body_digest: bytes = Field(repr=False)
    header_lines: bytes = Field(default=b"", repr=False)
    received_at: datetime
    state: str = InboxState.NEW
    applied_at: datetime | None = None
