"""Where a partner listens."""

from datetime import datetime

from sqlalchemy import ARRAY, Column, Text
from sqlmodel import Field, SQLModel

from models.database import metadata
from models.ids import new_id


class Endpoint(SQLModel, table=True, metadata=metadata):
    """A partner's URL, its secrets (sealed list of `whsec_…`), event types and switch."""

    id: str = Field(default_factory=lambda: new_id("ep"), primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    url: str = Field(repr=False)
    """May hold a token of the partner's, as `Claimed.url` may."""
    event_types: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    """None is every type."""
    description: str = ""
    is_enabled: bool = True
    sealed: bytes = Field(repr=False)
    created_at: datetime
    updated_at: datetime
