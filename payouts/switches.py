"""Kill switches: throw, lift, and what they hold.

While a switch holds, no payout in its scope is created (`payouts_disabled`) and none leaves: those that were created
before stay unsent, parked, until it is lifted or its time is over (payouts/parking.py). Whatever left already goes on:
polls are made, webhooks applied, partners told.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlmodel import Session, col, select

from connectors import NAMES
from models.audit import record
from models.integration import Integration
from models.money import InvalidAmount, exponent
from models.organisation import Organisation
from models.switch import Switch, SwitchScope
from payouts import parking
from payouts.refused import Refused

LONGEST_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class Thrown:
    """A switch that was just thrown, and what it holds."""

    switch: Switch
    parked: int
    """Payouts that were created and have not left: from now on they stay."""
    on_their_way: list[str]
    """Payouts whose request has left and is not answered for: no switch brings these back. The newest few."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A switch that holds, and what it does."""

    switch: Switch
    target: str | None
    """As people call it: a partner by its name."""
    parked: int
    on_their_way: list[str]


def throw(
    session: Session,
    scope: SwitchScope,
    target: str | None,
    *,
    reason: str,
    by: str,
    until: datetime | None,
    now: datetime,
) -> Thrown:
    """Stop payouts in a scope. Raises `Refused`. Once the caller has committed, no payout in it leaves any more."""
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_REASON:
        raise Refused("reason_missing", f"say why, in at most {LONGEST_REASON} characters: others will have to decide")
    if until is not None and until <= now:
        raise Refused("already_over", "the end lies in the past")
    parking.wait_for_the_leaving(session)
    found = _found(session, scope, target)
    switch = Switch(scope=scope, target=found, reason=reason, thrown_by=by, thrown_at=now, until=until)
    session.add(switch)
    session.flush()
    _record(session, switch, "switch.thrown", by, now)
    return Thrown(switch, parking.number_waiting(session, switch), parking.on_their_way(session, switch))


def lift(session: Session, switch_id: str, *, by: str, now: datetime) -> tuple[Switch, int]:
    """Let payouts go on, and return how many were parked by it. Raises `Refused`."""
    switch = session.exec(select(Switch).where(Switch.id == switch_id).with_for_update()).one_or_none()
    if switch is None:
        raise Refused("unknown_switch", f"no switch {switch_id!r}; `ratchet switches list` shows them")
    if switch.lifted_at is not None:
        raise Refused("already_lifted", f"{switch_id} was lifted by {switch.lifted_by}")
    switch.lifted_by, switch.lifted_at = by, now
    session.flush()
    _record(session, switch, "switch.lifted", by, now)
    return switch, parking.wake(session, switch, now)


def holding(session: Session, now: datetime) -> list[Switch]:
    """Return the switches that hold now, the newest first."""
    holds = col(Switch.lifted_at).is_(None) & (col(Switch.until).is_(None) | (col(Switch.until) > now))
    return list(session.exec(select(Switch).where(holds).order_by(col(Switch.thrown_at).desc())))


def read_holding(session: Session, now: datetime) -> list[Holding]:
    """Return the switches that hold now with what they do, the newest first."""
    return [
        Holding(
            switch,
            called(session, switch),
            parking.number_waiting(session, switch),
            parking.on_their_way(session, switch),
        )
        for switch in holding(session, now)
    ]


def called(session: Session, switch: Switch) -> str | None:
    """Return a switch's target as people call it."""
    if switch.scope != SwitchScope.PARTNER or switch.target is None:
        return switch.target
    return (
        session.exec(select(Organisation.name).where(Organisation.id == switch.target)).one_or_none() or switch.target
    )


def history(session: Session, limit: int) -> list[Switch]:
    """Return every switch that was ever thrown, the newest first."""
    return list(session.exec(select(Switch).order_by(col(Switch.thrown_at).desc()).limit(limit)))


def _found(session: Session, scope: SwitchScope, target: str | None) -> str | None:
    """Return the target as it is kept, or refuse one that nobody knows: a mistyped switch would stop nothing."""
    if scope is SwitchScope.EVERYTHING:
        if target:
            raise Refused("target_not_wanted", "everything has no target")
        return None
    if not target:
        raise Refused("target_missing", f"say which {scope}")
    if found := _known(session, scope, target):
        return found
    raise Refused("unknown_target", f"there is no {scope} {target!r}, so the switch would stop nothing")


def _known(session: Session, scope: SwitchScope, target: str) -> str | None:
    if scope is SwitchScope.GATEWAY:
        return target if target in NAMES else None
    if scope is SwitchScope.INTEGRATION:
        return session.exec(select(Integration.slug).where(Integration.slug == target)).one_or_none()
    if scope is SwitchScope.CURRENCY:
        try:
            exponent(target.upper())
        except InvalidAmount:
            return None
        return target.upper()
    named = (Organisation.name == target) | (Organisation.id == target)
    return session.exec(select(Organisation.id).where(named)).one_or_none()


def _record(session: Session, switch: Switch, action: str, by: str, now: datetime) -> None:
    facts: dict[str, Any] = {"scope": switch.scope, "target": switch.target, "reason": switch.reason}
    facts["until"] = switch.until
    before, after = (None, facts) if action == "switch.thrown" else (facts, None)
    record(session, actor=by, action=action, entity=switch.id, before=before, after=after, now=now)
