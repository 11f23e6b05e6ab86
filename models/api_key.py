"""What a partner shows at the partners' door, and what it may do with it."""

import hashlib
import secrets
import zlib
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import ARRAY, Column, Text
from sqlmodel import Field, SQLModel

import models.organisation  # noqa: F401 (foreign keys need the table they point at)
from models.database import metadata
from models.ids import new_id

LIVE: Final = "sk_live_"
TEST: Final = "sk_test_"

_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_LETTERS: Final = 32
"""190 bits: nobody guesses it, so one round of SHA-256 hides it as well as a slow hash would."""
_CHECK_LETTERS: Final = 6


class Scope(StrEnum):
    """What a key may be used for."""

    PAYOUTS_READ = "payouts.read"
    PAYOUTS_WRITE = "payouts.write"
    WEBHOOKS_READ = "webhooks.read"
    WEBHOOKS_WRITE = "webhooks.write"


class ApiKey(SQLModel, table=True, metadata=metadata):
    """One key of a partner. The key itself is shown once and never stored."""

    __tablename__ = "api_key"

    id: str = Field(default_factory=lambda: new_id("key"), primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    test_mode: bool
    name: str = ""
    digest: bytes = Field(unique=True, repr=False)
    last_four: str
    """Enough to tell keys apart in a list."""
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute: written at most that often, and never in the transaction of a request."""

    @property
    def shown(self) -> str:
        """Return the key as it may be shown: `sk_live_…x4Tz`."""
        return f"{prefix(test_mode=self.test_mode)}…{self.last_four}"

    def is_live(self, now: datetime) -> bool:
        """Tell whether it still opens the door."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


def prefix(*, test_mode: bool) -> str:
    """Return what every key of that mode starts with."""
    return TEST if test_mode else LIVE


def new_key(*, test_mode: bool) -> str:
    """Return a fresh key: prefix, random letters, and a checksum of both."""
    key = prefix(test_mode=test_mode) + "".join(secrets.choice(_LETTERS) for _ in range(_RANDOM_LETTERS))
    return key + _checksum(key)


def is_well_formed(key: str) -> bool:
    """Tell whether it could be one of ours, so that a slip of the keyboard never costs a query."""
    start = key[: len(LIVE)]
    letters = key[len(start) :]
    is_shaped = start in (LIVE, TEST) and len(letters) == _RANDOM_LETTERS + _CHECK_LETTERS
    return is_shaped and set(letters) <= set(_LETTERS) and _checksum(key[:-_CHECK_LETTERS]) == key[-_CHECK_LETTERS:]


def digest_of(key: str) -> bytes:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode()).digest()


def _checksum(text: str) -> str:
    number, letters = zlib.crc32(text.encode()), ""
    for _ in range(_CHECK_LETTERS):
        number, rest = divmod(number, len(_LETTERS))
        letters = _LETTERS[rest] + letters
    return letters
