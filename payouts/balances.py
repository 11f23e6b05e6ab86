"""Payouts of a balance: an amount, or all above the reserve, to where the balance pays, on its next business day."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from models.balance import Balance, Frequency
from models.organisation import Organisation
from payouts.business_days import next_business_day, opening
from payouts.create import Created, NewPayout, create
from payouts.destinations import Destination, destination_of
from payouts.payer import insufficient_funds, not_payable
from payouts.refused import Refused
from payouts.treasury import locked


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancePayout:
    """What is asked for."""

    organisation_id: str
    test_mode: bool
    balance_id: str
    amount_minor: int | None = None
    """None is everything available above the reserve."""
    description: str = ""
    reference: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_automatic: bool = False
    """Asked for by the balance's own frequency, which one asked for by anybody else ends."""


def create_balance_payout(
    session: Session, asked: BalancePayout, now: datetime, *, actor: str, request_id: str | None = None
) -> Created:
    """Schedule it for the next business day, and hold its money now. Raises `Refused`.

    The balance is locked first, and only a payout that nobody else can see yet is made under its lock.
    """
    balance = locked(session, asked.balance_id)
    if (balance.organisation_id, balance.test_mode) != (asked.organisation_id, asked.test_mode):
        raise Refused("unknown_balance", "there is none of this id that this key may see")
    day = next_business_day(balance.currency, now)
    destination = _checked(session, balance, day)
    new = _new(session, asked, balance, day, destination)
    created = create(session, new, now, actor=actor, request_id=request_id)
    if not asked.is_automatic:
        balance.transfer_frequency, balance.next_transfer_at = Frequency.NEVER, None
        session.flush()
    return created


def _checked(session: Session, balance: Balance, day: date) -> Destination:
    """Return where it goes, once nothing about the balance forbids it."""
    if refused := not_payable(session, balance):
        raise refused
    if balance.queued_refunds:
        raise Refused("refunds_queued", f"{balance.queued_refunds} refunds of {balance.id} wait for money and go first")
    if session.connection().execute(_TAKEN, {"balance": balance.id, "day": day}).scalar():
        raise Refused("already_scheduled", f"{balance.id} has a payout on {day} already: cancel it, or wait until then")
    return destination_of(session, balance)


def _new(session: Session, asked: BalancePayout, balance: Balance, day: date, destination: Destination) -> NewPayout:
    amount_minor = balance.available_minor if asked.amount_minor is None else asked.amount_minor
    if not 0 < amount_minor <= balance.available_minor:
        raise insufficient_funds(balance)
    return NewPayout(
        integration=destination.integration,
        organisation=session.get_one(Organisation, balance.organisation_id).name,
        organisation_id=balance.organisation_id,
        order_key=None,
        amount_minor=amount_minor,
        currency=balance.currency,
        description=asked.description,
        details=destination.details,
        test_mode=balance.test_mode,
        partner_reference=asked.reference,
        metadata=asked.metadata,
        mode=destination.mode,
        destination_label=destination.label,
        scheduled_at=opening(balance.currency, day),
        business_day=day,
    )


_TAKEN: Final = text(
    """
    SELECT EXISTS (
        SELECT FROM payout WHERE balance_id = :balance AND business_day = :day AND status IN ('pending', 'scheduled')
    )
    """
)
"""As `held_day` has it in uq_payout_balance_day, which says the same should two ever ask past the lock."""
