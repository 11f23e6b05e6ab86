"""Balances that are paid out by themselves: daily, weekly or monthly, everything above the reserve."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, select

from models.balance import Balance, Frequency
from payouts.balances import BalancePayout, create_balance_payout
from payouts.business_days import zone_of
from payouts.create import Created
from payouts.refused import Refused
from payouts.treasury import By, locked, set_terms

MOST: Final = 100
"""A run; the next one takes the rest."""


def set_frequency(session: Session, balance_id: str, frequency: Frequency, by: By) -> Balance:
    """Have a balance paid out so often from now on. Raises `Refused`."""
    balance = locked(session, balance_id)
    terms = {"transfer_frequency": frequency, "next_transfer_at": next_transfer(frequency, balance.currency, by.now)}
    return set_terms(session, balance_id, terms, by)


def next_transfer(frequency: Frequency, currency: str, now: datetime) -> datetime | None:
    """Return the midnight, in the currency's zone, at which the next one is scheduled; it leaves on a later day."""
    zone = ZoneInfo(zone_of(currency))
    today = now.astimezone(zone).date()
    day = _next_day(frequency, today)
    return None if day is None else datetime.combine(day, time(), zone).astimezone(UTC)


def _next_day(frequency: Frequency, today: date) -> date | None:
    if frequency is Frequency.DAILY:
        return today + timedelta(days=1)
    if frequency is Frequency.WEEKLY:
        return today + timedelta(days=7 - today.weekday())  # Monday
    if frequency is Frequency.MONTHLY:
        return (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return None


def due_balances(session: Session, now: datetime) -> Sequence[str]:
    """Return the balances whose time has come."""
    due = select(Balance.id).where(col(Balance.next_transfer_at) <= now).order_by(col(Balance.next_transfer_at))
    return session.exec(due.limit(MOST)).all()


def transfer(session: Session, balance_id: str, now: datetime) -> Created | Refused | None:
    """Pay a balance out if it is still due, and set its next time. What forbids it this time is returned."""
    balance = locked(session, balance_id)
    if balance.next_transfer_at is None or balance.next_transfer_at > now:
        return None
    balance.next_transfer_at = next_transfer(Frequency(balance.transfer_frequency), balance.currency, now)
    session.flush()
    asked = BalancePayout(
        organisation_id=balance.organisation_id,
        test_mode=balance.test_mode,
        balance_id=balance_id,
        description=f"{balance.transfer_frequency} payout",
        is_automatic=True,
    )
    try:
        return create_balance_payout(session, asked, now, actor="system")
    except Refused as refused:
        return refused
