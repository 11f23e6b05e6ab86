"""The integrations as the gateways' door knows them: a snapshot in memory, renewed every few seconds."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlmodel import select

from connectors import UnknownConnector, connector_class
from connectors._base import Account, Connector
from models.database import transaction
from models.integration import Integration
from models.sealed import CannotOpen

FRESH_SECONDS: Final = 3.0
OLD_SECONDS: Final = 10.0
"""After so long a quiet a webhook waits for the renewal: meanwhile a secret may have been revoked."""
RENEWAL_SECONDS: Final = 3.0
"""A renewal that takes longer has failed, and another is tried: the database may have vanished without a word."""
ASK_AGAIN_SECONDS: Final = 0.5
"""At most this often for a slug that nobody knows, so that strangers cannot make us query at their pace."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listener:
    """One integration, ready to verify."""

    id: int
    slug: str
    connector: Connector
    webhook_secrets: tuple[str, ...] = field(repr=False)

    @property
    def can_verify(self) -> bool:
        """Tell whether a webhook could be proven genuine at all."""
        return bool(self.webhook_secrets) or not self.connector.REQUIRES_WEBHOOK_SECRET


def load() -> dict[str, Listener]:
    """Read every active integration. One that cannot be opened stays out and is logged; the others go on."""
    with transaction() as session:
        rows = session.exec(select(Integration).where(Integration.is_active)).all()
    listeners = {}
    for row in rows:
        try:
            secrets = row.secrets()
            connector = connector_class(row.connector)(Account(secrets.credentials, row.base_url, row.options))
        except (CannotOpen, UnknownConnector) as error:
            _log.error("integration.unusable", integration=row.slug, error=str(error))
            continue
        listeners[row.slug] = Listener(row.id or 0, row.slug, connector, secrets.live(datetime.now(UTC)))
    return listeners


class Directory:
    """Finds integrations by slug, and waits for the database only for what it has not seen lately."""

    def __init__(self, load: Callable[[], Mapping[str, Listener]] = load) -> None:
        """`load` reads all of them; it may block and may raise."""
        self._load = load
        self._listeners: Mapping[str, Listener] = {}
        self._loaded_at = self._asked_at = float("-inf")
        self._failure: Exception | None = None
        self._renewal: asyncio.Task[None] | None = None

    def known(self, slug: str) -> Listener | None:
        """Return the integration if what we know of it is fresh: the way of nearly every webhook."""
        if time.monotonic() - self._loaded_at < FRESH_SECONDS and not self._failure:
            return self._listeners.get(slug)
        return None

    async def find(self, slug: str) -> Listener | None:
        """Return the integration, or None. Raises what `load` last raised for a slug that may be a new one."""
        now = time.monotonic()
        found = self._listeners.get(slug)
        if now - self._asked_at > (FRESH_SECONDS if found and not self._failure else ASK_AGAIN_SECONDS):
            self._asked_at = now
            if self._renewal is None:
                self._renewal = asyncio.create_task(self._renew())
        if self._renewal and (found is None or (now - self._loaded_at > OLD_SECONDS and not self._failure)):
            await asyncio.shield(self._renewal)
            found = self._listeners.get(slug)
        if found is None and self._failure:
            raise self._failure
        return found

    def slug(self, integration_id: int) -> str:
        """Return the slug for metrics."""
        return next((known.slug for known in self._listeners.values() if known.id == integration_id), "gone")

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(RENEWAL_SECONDS):
                self._listeners = await asyncio.to_thread(self._load)
            self._loaded_at = time.monotonic()
            self._failure = None
        except Exception as error:  # noqa: BLE001 (what we know stays true enough while the database is away)
            self._failure = error
            _log.warning("directory.stale", error=type(error).__name__)
        finally:
            self._asked_at = time.monotonic()
            self._renewal = None
