"""Where a partner listens, what it chose, and how it fares."""

import secrets as randomness
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import ARRAY, Column, Index, Integer, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.database import metadata
from models.ids import new_id
from models.sealed import seal, unseal

SYMMETRIC: Final = "whsec_"
"""Prefix of a secret that both sides know; it signs by `v1`."""
PRIVATE: Final = "whsk_"
"""Prefix of a private key that never leaves; it signs by `v1a`."""
PUBLIC: Final = "whpk_"
"""Prefix of the key that verifies what a private key signs."""


class Breaker(StrEnum):
    """Whether an endpoint's deliveries flow."""

    CLOSED = "closed"
    """They do."""
    OPEN = "open"
    """It fails and fails: nothing goes out until `not_before`."""
    HALF_OPEN = "half_open"
    """One delivery is out to see whether it is back."""


class Endpoint(SQLModel, table=True, metadata=metadata):
    """A partner's URL with its secrets, choices and switch, and how it fares.

    How it fares is on the same row, written only when it changes: a claim needs it, and reads this row anyway.
    """

    __table_args__ = (
        Index("ix_endpoint_ailing", "id", postgresql_where=text("breaker <> 'closed' OR disabled_reason IS NOT NULL")),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    id: str = Field(default_factory=lambda: new_id("ep"), primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    url: str = Field(repr=False)
    """May hold a token of the partner's, as `Target.url` may."""
    event_types: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    """None is every type."""
    description: str = ""
    labels: dict[str, str] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}"), repr=False
    )
    """The partner's own notes, `metadata` in the API: here that name belongs to the tables."""
    test_mode: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """Live endpoints hear of live payouts only, test endpoints of test payouts only."""
    schemes: list[str] = Field(
        default_factory=lambda: ["v1"], sa_column=Column(ARRAY(Text), nullable=False, server_default="{v1}")
    )
    """How its webhooks are signed: v1, v1a or both."""
    sealed: bytes = Field(repr=False)
    """`EndpointSecrets`; see `keep` and `secrets`."""
    sealed_headers: bytes | None = Field(default=None, repr=False)
    """Headers that the partner wants on every request, sealed because tokens are what they are used for."""
    rate_limit: int | None = None
    """Deliveries a second, or None for as many as it takes."""
    retry_schedule: list[int] | None = Field(default=None, sa_column=Column(ARRAY(Integer)))
    """Seconds to wait after each failed attempt, or None for the usual schedule."""
    is_enabled: bool = True
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    """`gone` and `failing` are our doing; None when it was switched off by its owner or by an operator."""
    deleted_at: datetime | None = None
    """Kept for the history of its deliveries; nobody can reach it any more, and its secrets are wiped."""
    created_at: datetime
    updated_at: datetime

    breaker: str = Field(default=Breaker.CLOSED, sa_column_kwargs={"server_default": "closed"})
    failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Failed attempts since the last success, of whatever payouts."""
    failing_since: datetime | None = None
    openings: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How often the breaker has opened since the last success: every pause is longer than the one before."""
    not_before: datetime | None = None
    """Nothing goes out before: the breaker's pause, or what the endpoint asked for by Retry-After."""
    paced_until: datetime | None = None
    """How far its rate limit is used up."""

    def keep(self, secrets: "EndpointSecrets") -> None:
        """Seal `secrets` into this row."""
        self.sealed = secrets.sealed()

    def secrets(self) -> "EndpointSecrets":
        """Open what was sealed. Raises `CannotOpen`."""
        return EndpointSecrets.opened(self.sealed)


@dataclass(frozen=True, slots=True)
class EndpointSecrets:
    """What signs an endpoint's webhooks: secrets and private keys, the newest first, some of them with an end."""

    known: tuple[tuple[str, datetime | None], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, *fresh: str) -> "EndpointSecrets":
        """Return secrets without an end."""
        return cls(tuple((secret, None) for secret in fresh))

    @classmethod
    def opened(cls, sealed: bytes) -> "EndpointSecrets":
        """Open what `sealed` has made. Raises `CannotOpen`."""
        return cls(tuple((secret, until and datetime.fromisoformat(until)) for secret, until in unseal(sealed)))

    def sealed(self) -> bytes:
        """Return them sealed."""
        return seal([[secret, until and until.isoformat()] for secret, until in self.known])

    def live(self, now: datetime, prefix: str = "") -> tuple[str, ...]:
        """Return those of a kind that sign now, the newest first."""
        return tuple(
            secret for secret, until in self.known if secret.startswith(prefix) and (until is None or until > now)
        )

    def rotated(self, fresh: Iterable[str], keep_until: datetime, now: datetime) -> "EndpointSecrets":
        """Return fresh ones in front; those they replace sign until then, and not longer than they would have."""
        replaced = ((secret, min(until or keep_until, keep_until)) for secret, until in self.known)
        kept = [(secret, until) for secret, until in replaced if until > now]
        return EndpointSecrets((*((secret, None) for secret in fresh), *kept))


def new_secret() -> str:
    """Return a fresh endpoint secret: 32 random bytes as `whsec_…`."""
    return SYMMETRIC + b64encode(randomness.token_bytes(32)).decode()


def new_private_key() -> str:
    """Return a fresh Ed25519 private key: its seed of 32 random bytes as `whsk_…`."""
    return PRIVATE + b64encode(randomness.token_bytes(32)).decode()
