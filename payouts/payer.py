"""Which balance pays for a payout, and why it may not.

An organisation that has a balance pays in beforehand: what it pays out is held against the balance of that currency and
mode, and where there is none nothing is paid out. One without any balance settles with the operator in other ways.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, select

from models.balance import Balance, BalanceStatus
from models.database import Quick
from models.money import to_text
from payouts.refused import Refused


@dataclass(frozen=True, slots=True)
class Cost:
    """What a payout costs its organisation, the fee included, in the currency of the balance that pays it."""

    debit_minor: int
    fee_minor: int
    currency: str


def paying_balance(session: Session, organisation_id: str, currency: str, *, test_mode: bool) -> str | None:
    """Return the id of the balance that pays, or None for an organisation without any. Raises `Refused`."""
    wanted = {"organisation": organisation_id, "test_mode": test_mode}
    balances = {row.currency: row.id for row in _BALANCES.run(session, wanted)}
    if balances and currency not in balances:
        raise Refused("balance_missing", f"there is no balance in {currency}; there is one in {', '.join(balances)}")
    return balances.get(currency)


def why_not(session: Session, balance_id: str) -> Refused:
    """Return why a hold has just found that this balance does not pay."""
    balance = session.exec(select(Balance).where(Balance.id == balance_id)).one()
    if reason := not_payable(session, balance):
        return reason
    return insufficient_funds(balance)


def insufficient_funds(balance: Balance) -> Refused:
    """Return the refusal that tells how much there is."""
    available = to_text(max(0, balance.available_minor), balance.currency)
    return Refused("insufficient_funds", f"{balance.id} has {available} {balance.currency} available")


def not_payable(session: Session, balance: Balance) -> Refused | None:
    """Return what forbids every payout from this balance, whatever its amount; or None."""
    if balance.status != BalanceStatus.ACTIVE:
        return Refused("balance_inactive", f"{balance.id} is not active")
    if balance.payouts_blocked is not None:
        return Refused("payouts_blocked", f"payouts from {balance.id} are blocked: {balance.payouts_blocked}")
    of = {"organisation": balance.organisation_id, "test_mode": balance.test_mode}
    if debtor := session.connection().execute(_BELOW, of).scalar():
        return Refused("balance_below_threshold", f"{debtor} is below its negative threshold: it has to be topped up")
    return None


_BALANCES: Final = Quick(
    "SELECT id, currency FROM balance WHERE organisation_id = :organisation AND test_mode = :test_mode ORDER BY id"
)
_BELOW: Final = text(
    """
    SELECT id FROM balance WHERE organisation_id = :organisation AND test_mode = :test_mode
        AND balance_minor - held_minor - reserve_minor < -negative_threshold_minor
    ORDER BY id LIMIT 1
    """
)
