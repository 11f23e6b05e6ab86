"""Integrations with their connectors, ready to use."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog
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
    """Open those of these integrations that can be opened, and log the others: one must not hold up its neighbours."""
    opened = {}
    for row in session.exec(select(Integration).where(col(Integration.id).in_(set(ids)))):
        try:
            opened[row.id or 0] = connect(row)
        except (CannotOpen, UnknownConnector) as error:
            _log.error("integration.unusable", integration=row.slug, error=str(error))
    return opened
