"""Payouts that were created and may not leave: what a kill switch holds back, and letting it go on."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from models.database import Quick
from models.integration import Integration
from models.payout import Payout
from models.switch import Switch
from payouts.integrations import AnyIntegration

PARKED: Final = "parked"
"""In `payout.poll_failure`: a switch holds it back."""
LOOK_AGAIN_AFTER: Final = timedelta(hours=1)
"""For a switch without an end. Lifting it wakes what it parked at once."""
SPREAD_SECONDS: Final = 30.0
MOST_NAMED: Final = 100

_LEAVING: Final = 4_837_104
"""Advisory lock key: shared by every submission that begins, taken alone by whoever throws a switch."""


@dataclass(frozen=True, slots=True)
class Parked:
    """One payout that waits behind switches."""

    id: str
    organisation: str
    integration: str
    order_key: str
    amount_minor: int
    currency: str
    created_at: datetime
    switches: list[str] = field(default_factory=list)
    """Ids of those that hold it."""


def switched_off(
    session: Session, integration: AnyIntegration, currency: str, organisation_id: str, now: datetime
) -> Switch | None:
    """Return a switch that holds payouts of this kind, the one that lasts longest; or None."""
    of = {"gateway": integration.connector, "integration": integration.slug}
    of |= {"currency": currency, "partner": organisation_id}
    found = _HOLDS.run(session, {"now": now, **of}).fetchone()
    return session.get(Switch, found.id) if found else None


def may_leave(session: Session, payout: Payout, now: datetime) -> bool:
    """Tell whether a payout may be submitted, and park it if not. Who throws a switch waits for this transaction."""
    session.connection().execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _LEAVING})
    integration = session.get_one(Integration, payout.integration_id)
    switch = switched_off(session, integration, payout.currency, payout.organisation_id, now)
    if switch is None:
        payout.poll_failure = None if payout.poll_failure == PARKED else payout.poll_failure
        return True
    spread = timedelta(seconds=random.uniform(0, SPREAD_SECONDS))  # noqa: S311 (spreads load, guards nothing)
    payout.next_poll_at = (switch.until or now + LOOK_AGAIN_AFTER) + spread
    payout.poll_failure = PARKED
    return False


def wait_for_the_leaving(session: Session) -> None:
    """Return once every submission that has begun is committed; those that begin later wait for this transaction.

    So what has left is known when a switch is thrown, and nothing leaves once that is committed.
    """
    session.connection().execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LEAVING})


def number_waiting(session: Session, switch: Switch) -> int:
    """Return how many payouts in a switch's scope have not left."""
    return int(session.connection().execute(_NUMBER, _scope(switch)).scalar_one())


def on_their_way(session: Session, switch: Switch) -> list[str]:
    """Return the newest payouts in a switch's scope that have left, and nobody knows yet whether they arrived."""
    found = session.connection().execute(_ON_THEIR_WAY, {**_scope(switch), "most": MOST_NAMED})
    return list(found.scalars())


def wake(session: Session, switch: Switch, now: datetime) -> int:
    """Make what a switch has parked due at once. What another one holds is looked at, and parked again."""
    return session.connection().execute(_WAKE, {**_scope(switch), "now": now, "parked": PARKED}).rowcount


def waiting(session: Session, switches: Iterable[Switch], limit: int) -> list[Parked]:
    """Return payouts that have not left and that any of these switches holds, the oldest first."""
    found: dict[str, Parked] = {}
    for switch in switches:
        for row in session.connection().execute(_LIST, {**_scope(switch), "limit": limit}).mappings():
            found.setdefault(row["id"], Parked(**row)).switches.append(switch.id)
    return sorted(found.values(), key=lambda parked: (parked.created_at, parked.id))[:limit]


def _scope(switch: Switch) -> dict[str, str | None]:
    return {"scope": switch.scope, "target": switch.target}


_IS_WITHIN: Final = """
    CASE CAST(:scope AS text) WHEN 'everything' THEN true WHEN 'gateway' THEN i.connector = :target
        WHEN 'integration' THEN i.slug = :target WHEN 'currency' THEN p.currency = :target
        WHEN 'partner' THEN p.organisation_id = :target END
"""
_FROM: Final = "payout p JOIN integration i ON i.id = p.integration_id"
_UNSENT: Final = f"p.status IN ('pending', 'scheduled') AND p.submission = 'unsent' AND {_IS_WITHIN}"

_HOLDS: Final = Quick(
    """
    SELECT id FROM switch WHERE lifted_at IS NULL AND (until IS NULL OR until > :now) AND (
        scope = 'everything' OR (scope = 'gateway' AND target = :gateway)
        OR (scope = 'integration' AND target = :integration) OR (scope = 'currency' AND target = :currency)
        OR (scope = 'partner' AND target = :partner)
    ) ORDER BY until DESC NULLS FIRST LIMIT 1
    """
)
_NUMBER: Final = text(f"SELECT count(*) FROM {_FROM} WHERE {_UNSENT}")  # noqa: S608 (fragments of this file)
_ON_THEIR_WAY: Final = text(
    f"""
    SELECT p.id FROM {_FROM} WHERE p.submission IN ('sending', 'unknown') AND {_IS_WITHIN}
    ORDER BY p.id DESC LIMIT :most
    """  # noqa: S608
)
_WAKE: Final = text(
    f"""
    UPDATE payout SET next_poll_at = :now FROM (
        SELECT p.id FROM {_FROM} WHERE {_UNSENT} AND p.poll_failure = :parked ORDER BY p.id FOR UPDATE OF p
    ) woken WHERE payout.id = woken.id
    """  # noqa: S608
)
_LIST: Final = text(
    f"""
    SELECT p.id, o.name AS organisation, i.slug AS integration, p.order_key, p.amount_minor, p.currency, p.created_at
    FROM {_FROM} JOIN organisation o ON o.id = p.organisation_id
    WHERE {_UNSENT} ORDER BY p.created_at, p.id LIMIT :limit
    """  # noqa: S608
)
