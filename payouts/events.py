"""Events as their partners see them: what happened to a payout or to an endpoint, and the body that was sent for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlmodel import Session

from payouts.create import Refused
from payouts.pages import Stretch, is_name
from payouts.sight import Sight

ABOUT_PAYOUTS: Final = "payout."


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilters:
    """Which events are wanted; None is any."""

    type: str | None = None
    payout_id: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    id: str
    type: str
    organisation_id: str
    test_mode: bool
    payout_id: str | None
    """None for an event about an endpoint."""
    sequence: int | None
    """Of its payout, from 1."""
    created_at: datetime
    payload: str | None = field(repr=False)
    """The JSON body as it is sent; None once it is pruned."""

    @property
    def body(self) -> dict[str, Any] | None:
        """Return the body as JSON values."""
        return None if self.payload is None else orjson.loads(self.payload)


EVERY_EVENT: Final = EventFilters()
NEWEST_EVENTS: Final = Stretch("evt")


def list_events(
    session: Session, sight: Sight, filters: EventFilters = EVERY_EVENT, stretch: Stretch = NEWEST_EVENTS
) -> list[Event]:
    """Return the events that pass, newest first."""
    about_payouts = [sight.narrows("e"), *stretch.within("e.id")]
    about_endpoints = [sight.narrows("n"), *stretch.within("n.id")]
    asked: dict[str, Any] = {**sight.parameters, **stretch.parameters}
    if filters.payout_id is not None:
        about_payouts.append("e.payout_id = :payout_id")
        about_endpoints.append("false")
        asked["payout_id"] = filters.payout_id
    if filters.type is not None:
        is_payouts = filters.type.startswith(ABOUT_PAYOUTS)
        about_payouts.append("e.status = :type" if is_payouts else "false")
        about_endpoints.append("false" if is_payouts else "n.type = :type")
        asked["type"] = filters.type.removeprefix(ABOUT_PAYOUTS)
    return _read(session, about_payouts, about_endpoints, asked)


def find_event(session: Session, sight: Sight, event_id: str) -> Event:
    """Return one event. Raises `Refused`."""
    asked = {**sight.parameters, "id": event_id, "limit": 1}
    found = _read(session, [sight.narrows("e"), "e.id = :id"], [sight.narrows("n"), "n.id = :id"], asked)
    if not found:
        raise Refused("unknown_event", "there is no such event")
    return found[0]


def _read(
    session: Session, about_payouts: Sequence[str], about_endpoints: Sequence[str], asked: dict[str, Any]
) -> list[Event]:
    if not is_name(*asked.values()):
        return []
    query = _SELECT.format(payouts=" AND ".join(about_payouts), endpoints=" AND ".join(about_endpoints))
    return [Event(*row) for row in session.connection().execute(text(query), asked)]


_SELECT: Final = f"""
    SELECT * FROM (
        (SELECT e.id, '{ABOUT_PAYOUTS}' || e.status AS type, e.organisation_id, e.test_mode, e.payout_id, e.sequence,
            e.created_at, e.payload
        FROM payout_event e WHERE {{payouts}} ORDER BY e.id DESC LIMIT :limit)
        UNION ALL
        (SELECT n.id, n.type, n.organisation_id, n.test_mode, NULL, NULL, n.created_at, n.payload
        FROM notice n WHERE {{endpoints}} ORDER BY n.id DESC LIMIT :limit)
    ) event ORDER BY id DESC LIMIT :limit
"""  # noqa: S608 (fragments of this file)
"""Each half walks its own index from the end; what is sorted together is at most two pages."""
