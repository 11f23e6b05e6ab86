"""One configured account at one gateway: which connector, where, with which secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Column, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.database import metadata
from models.sealed import seal, unseal


class Integration(SQLModel, table=True, metadata=metadata):
    """A row of `integration`. Its slug is its public name and part of its webhook URL."""

    id: int | None = Field(default=None, primary_key=True)
    slug: str = Field(unique=True)
    connector: str
    base_url: str | None = Field(default=None, sa_column=Column(Text))
    options: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}"))
    sealed: bytes = Field(repr=False)
    has_webhook_secret: bool
    """What can be told without opening `sealed`: without a secret no webhook is accepted and no payout created."""
    is_active: bool = True
    payouts_enabled: bool = True
    currencies: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    """What it pays out in; None is whatever its connector does."""
    test_mode: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """An account that moves no money: the only kind that payouts of test keys are routed to."""
    polls_paused_until: datetime | None = None
    """Set when the gateway asks us to slow down."""
    created_at: datetime
    updated_at: datetime

    def keep(self, secrets: "IntegrationSecrets") -> None:
        """Seal `secrets` into this row."""
        self.sealed = seal(
            {
                "webhook_secrets": list(secrets.webhook_secrets),
                "retiring": [[secret, until.isoformat()] for secret, until in secrets.retiring],
                "credentials": dict(secrets.credentials),
            }
        )
        self.has_webhook_secret = any(secret.strip() for secret in secrets.webhook_secrets)

    def secrets(self) -> "IntegrationSecrets":
        """Open what was sealed. Raises `CannotOpen`."""
        opened = unseal(self.sealed)
        retiring = tuple((secret, datetime.fromisoformat(until)) for secret, until in opened.get("retiring", []))
        return IntegrationSecrets(tuple(opened["webhook_secrets"]), opened["credentials"], retiring)


@dataclass(frozen=True, slots=True)
class IntegrationSecrets:
    """What only the receiver and the connector's calls may see."""

    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    retiring: tuple[tuple[str, datetime], ...] = field(default=(), repr=False)
    """Secrets that were replaced, and until when what they sign is still accepted."""

    def live(self, now: datetime) -> tuple[str, ...]:
        """Return every secret that may verify a webhook now, the newest first."""
        return tuple(
            secret
            for secret, until in [*((secret, None) for secret in self.webhook_secrets), *self.retiring]
            if secret.strip() and (until is None or until > now)
        )

    def rotated(self, webhook_secrets: tuple[str, ...], keep_until: datetime) -> "IntegrationSecrets":
        """Return these with new webhook secrets; those they replace go on verifying until then."""
        replaced = tuple((secret, keep_until) for secret in self.webhook_secrets if secret not in webhook_secrets)
        kept = tuple((secret, until) for secret, until in self.retiring if secret not in webhook_secrets)
        return IntegrationSecrets(webhook_secrets, self.credentials, (*replaced, *kept))
