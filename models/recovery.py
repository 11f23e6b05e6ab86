"""Recovery: the job of sending an endpoint everything that it has missed since a time."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from models.database import metadata
from models.ids import new_id


class RecoveryState(StrEnum):
    """Whether anything is still to be done."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    """Its endpoint was disabled or deleted meanwhile."""


class Recovery(SQLModel, table=True, metadata=metadata):
    """One request to make good what one endpoint has missed, and how far it has got.

    It is worked off in small steps, each one transaction that writes what is owed together with `reached`: whoever
    is killed in the middle leaves it where the next one takes it up.
    """

    __table_args__ = (
        # Two at once would owe the same events twice.
        Index("uq_recovery_running", "endpoint_id", unique=True, postgresql_where=text("state = 'running'")),
        Index("ix_recovery_next_step", "next_step_at", postgresql_where=text("state = 'running'")),
        Index("ix_recovery_organisation", "organisation_id", "id"),
    )

    id: str = Field(default_factory=lambda: new_id("rcv"), primary_key=True)
    organisation_id: str
    test_mode: bool
    endpoint_id: str
    since: datetime
    until: datetime
    """When it was asked for: later events reach the endpoint by themselves."""
    state: str = Field(default=RecoveryState.RUNNING, sa_column_kwargs={"server_default": "running"})
    reached: str
    """The event up to which all have been looked at."""
    examined: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Events that the endpoint subscribes to."""
    owed: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Deliveries that it has made."""
    pruned: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Events whose payload is no longer kept: they cannot be sent."""
    created_at: datetime
    next_step_at: datetime
    finished_at: datetime | None = None
