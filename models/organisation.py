"""The tenant, and the people who run this installation."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.database import metadata
from models.ids import new_id


class Organisation(SQLModel, table=True, metadata=metadata):
    """A partner: every row of a partner's belongs to one."""

    id: str = Field(default_factory=lambda: new_id("org"), primary_key=True)
    name: str = Field(unique=True)
    created_at: datetime
    contact_email: str | None = None
    """Who is written to when an endpoint of theirs is switched off."""


class Operator(SQLModel, table=True, metadata=metadata):
    """Somebody who may sign in at the operators' door."""

    name: str = Field(primary_key=True)
    password_hash: bytes = Field(repr=False)
    created_at: datetime
