"""Integrations with their connectors, ready to use."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Final

import structlog
from sqlalchemy import Row, text
from sqlmodel import Session, col, select

from connectors import UnknownConnector, connector_class
from connectors._base import Account, Connector
from models.database import Quick
from models.integration import Integration, IntegrationSecrets
from models.sealed import CannotOpen

Unusable: Final = (CannotOpen, UnknownConnector)
"""What opening an integration raises: the key of its secrets is lost, or the file of its connector is."""

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


@dataclass(frozen=True, slots=True)
class Candidate:
    """An integration as far as creating a payout looks at it: without its secrets, and quicker to read."""

    id: int
    slug: str
    connector: str
    base_url: str | None
    options: dict[str, Any]
    has_webhook_secret: bool
    is_active: bool
    payouts_enabled: bool
    currencies: list[str] | None
    test_mode: bool


AnyIntegration = Integration | Candidate


def candidates(session: Session, *, test_mode: bool, gateway: str | None) -> list[Candidate]:
    """Return the active integrations of that mode, and of that slug or gateway, in the order they were added in."""
    asked = {"test_mode": test_mode, "gateway": gateway}
    return [Candidate(*row) for row in _CANDIDATES.run(session, asked)]


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
        except Unusable as error:
            _log.error("integration.unusable", integration=row.slug, error=str(error))
    return usable


_CANDIDATES: Final = Quick(
    f"""
    SELECT {", ".join(column.name for column in fields(Candidate))} FROM integration
    WHERE is_active AND test_mode = :test_mode
        AND (CAST(:gateway AS text) IS NULL OR slug = :gateway OR connector = :gateway)
    ORDER BY id
    """  # noqa: S608 (our own columns)
)
_CONFIGURED: Final = text(
    """
    SELECT id, slug, connector, base_url, options, sealed, is_active, payouts_enabled
    FROM integration WHERE id = ANY(:ids)
    """
)
_opened: Final[dict[int, tuple[Row[Any], Connected]]] = {}
