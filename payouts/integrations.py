"""Integrations with their connectors, ready to use."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from sqlalchemy import Row, text
from sqlmodel import Session, col, select

from connectors import UnknownConnector, connector_class
from connectors._base import Account, Connector
from models.integration import Integration, IntegrationSecrets
from models.sealed import CannotOpen

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Connected:
    """One integration with its secrets open and its connector configured."""

    id: int
    slug: str
    connector: Connector
    secrets: IntegrationSecrets = field(repr=False)
    is_active: bool
    payouts_enabled: bool


def connect(integration: Integration) -> Connected:
    """Open one integration. Raises `CannotOpen` or `UnknownConnector`."""
    secrets = integration.secrets()
    account = Account(secrets.credentials, integration.base_url, integration.options)
    connector = connector_class(integration.connector)(account)
    switches = (integration.is_active, integration.payouts_enabled)
    return Connected(integration.id or 0, integration.slug, connector, secrets, *switches)


def connected(session: Session, ids: Iterable[int]) -> dict[int, Connected]:
    """Open the integrations with these ids. Raises as `connect` does."""
    rows = session.exec(select(Integration).where(col(Integration.id).in_(set(ids))))
    return {row.id or 0: connect(row) for row in rows}


def usable(session: Session, ids: Iterable[int]) -> dict[int, Connected]:
    """Open those of these integrations that can be opened, and log the others: one must not hold up its neighbours.

    Those that have not changed since this process last opened them are not opened again.
    """
    usable = {}
    for row in session.connection().execute(_CONFIGURED, {"ids": list(ids)}):
        known = _opened.get(row.id)
        try:
            if known is None or known[0] != row:
                known = _opened[row.id] = (row, connect(Integration(**row._mapping)))  # noqa: SLF001 (its public name)
            usable[row.id] = known[1]
        except (CannotOpen, UnknownConnector) as error:
            _log.error("integration.unusable", integration=row.slug, error=str(error))
    return usable


_CONFIGURED: Final = text(
    """
    SELECT id, slug, connector, base_url, options, sealed, is_active, payouts_enabled
    FROM integration WHERE id = ANY(:ids)
    """
)
_opened: Final[dict[int, tuple[Row[Any], Connected]]] = {}
