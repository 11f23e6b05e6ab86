"""How long a payout may be silent: its gateway's own figures, and what an integration says otherwise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Final

import structlog
from sqlalchemy import text
from sqlmodel import Session

from connectors import UnknownConnector, connector_class
from connectors._base import Connector
from models.lifecycle import IN_FLIGHT, PayoutStatus

OPTION: Final = "silence_hours"
"""`integration.options["silence_hours"] = {"pending": 12, "broadcast": 36.5}`: hours, for any status in flight."""

LONGEST_HOURS: Final = 24 * 366

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Silence:
    """What is normal for one integration."""

    integration_id: int
    slug: str
    gateway: str
    allowed: Mapping[PayoutStatus, timedelta]
    """How long a payout may stay in each status in flight."""
    is_active: bool
    lacks_secret: bool
    """No webhook of this gateway could be verified, so all of them are refused."""


def read_silences(session: Session) -> list[Silence]:
    """Return what is normal, for every integration, by slug."""
    return [_silence(row) for row in session.connection().execute(_READ)]


def _silence(row: Any) -> Silence:
    gateway = _gateway(row.connector)
    own = _own(row.slug, row.options.get(OPTION, {}))
    allowed = {**Connector.SILENCE, **gateway.SILENCE, **own}
    lacks_secret = gateway.REQUIRES_WEBHOOK_SECRET and not row.has_webhook_secret
    return Silence(row.id, row.slug, row.connector, allowed, row.is_active, lacks_secret)


def _gateway(connector: str) -> type[Connector]:
    try:
        return connector_class(connector)
    except UnknownConnector:  # its file was taken away while payouts are in flight: they must stay on the report
        _tell_once("integration.connector_unknown", connector)
        return Connector


def _own(slug: str, silence_hours: object) -> dict[PayoutStatus, timedelta]:
    """Return the usable ones of an integration's own figures; a mistyped one must not hide a stuck payout."""
    if not isinstance(silence_hours, Mapping):
        _tell_once("integration.silence_ignored", slug)
        return {}
    own = {}
    for status, hours in silence_hours.items():
        if status in IN_FLIGHT and is_a_duration(hours):
            own[PayoutStatus(status)] = timedelta(hours=hours)
        else:
            _tell_once("integration.silence_ignored", slug, str(status)[:32])
    return own


def is_a_duration(hours: object) -> bool:
    """Tell whether it is a number of hours that a payout may be silent for: more than none, at most `LONGEST_HOURS`."""
    is_number = isinstance(hours, int | float) and not isinstance(hours, bool)
    return is_number and math.isfinite(hours) and 0 < hours <= LONGEST_HOURS  # type: ignore[arg-type, operator]


@cache
def _tell_once(event: str, name: str, status: str | None = None) -> None:
    """Log what an operator should mend: once per process, because the report is read at every scrape."""
    _log.warning(event, name=name, status=status)


_READ: Final = text("SELECT id, slug, connector, options, is_active, has_webhook_secret FROM integration ORDER BY slug")
