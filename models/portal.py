"""PortalLink: a partner's way to its page, without an account."""

from datetime import datetime

from sqlmodel import Field, SQLModel

import models.organisation  # noqa: F401 (foreign keys need the table they point at)
from models.database import metadata
from models.ids import new_id


class PortalLink(SQLModel, table=True, metadata=metadata):
    """One link, opened once, and the visit that it has led to."""

    __tablename__ = "portal_link"

    id: str = Field(default_factory=lambda: new_id("lnk"), primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    test_mode: bool
    digest: bytes = Field(unique=True, repr=False)
    """SHA-256 of the token in the link, which has 256 random bits: nobody guesses it, and it is stored nowhere."""
    key_id: str | None = None
    """The API key that made it, or None: a link ends with its key."""
    made_by: str
    created_at: datetime
    expires_at: datetime
    """Until then it can be opened."""
    opened_at: datetime | None = None
    visit_until: datetime | None = None
    """Until then whoever has opened it may look and mend."""
    ended_at: datetime | None = None
