"""What operators do to balances: open, credit, charge, adjust, keep back, set. Each with its audit line."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.errors import CheckViolation
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from models.audit import record
from models.balance import Account, Balance, BalanceStatus, EntryKind
from models.money import InvalidAmount, exponent, to_text
from models.organisation import Organisation
from payouts.ledger import Booking, book
from payouts.refused import Refused

LONGEST_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class By:
    """Who does it, why, and when."""

    actor: str
    reason: str
    now: datetime


def open_balance(session: Session, organisation: str, currency: str, *, test_mode: bool, by: By) -> Balance:
    """Give an organisation a balance in one currency and mode. Raises `Refused`."""
    owner = session.exec(select(Organisation).where(Organisation.name == organisation)).one_or_none()
    if owner is None:
        raise Refused("unknown_organisation", f"no organisation {organisation!r}: `ratchet endpoints add`")
    try:
        exponent(currency)
    except InvalidAmount as error:
        raise Refused("unknown_currency", str(error)) from None
    wanted = select(Balance).where(Balance.organisation_id == owner.id, Balance.currency == currency)
    if found := session.exec(wanted.where(Balance.test_mode == test_mode)).one_or_none():
        raise Refused("balance_exists", f"{organisation} has {found.id} in {currency} already")
    balance = Balance(organisation_id=owner.id, test_mode=test_mode, currency=currency, created_at=by.now)
    session.add(balance)
    session.flush()
    tell(session, "balance.opened", balance, None, {"currency": currency, "test_mode": test_mode}, by)
    return balance


def credit(session: Session, balance_id: str, amount_minor: int, by: By) -> None:
    """Book money that came in from outside."""
    _check_positive(amount_minor)
    _move(
        session, balance_id, EntryKind.CREDITED, {Account.AVAILABLE: amount_minor, Account.FUNDING: -amount_minor}, by
    )


def charge(session: Session, balance_id: str, amount_minor: int, by: By) -> None:
    """Book a fee that belongs to no payout. It may take the balance below zero."""
    _check_positive(amount_minor)
    _move(session, balance_id, EntryKind.CHARGED, {Account.AVAILABLE: -amount_minor, Account.FEES: amount_minor}, by)


def adjust(session: Session, balance_id: str, amount_minor: int, by: By) -> None:
    """Book a correction or a chargeback; negative takes away, even below zero."""
    lines = {Account.AVAILABLE: amount_minor, Account.ADJUSTMENTS: -amount_minor}
    _move(session, balance_id, EntryKind.ADJUSTED, lines, by)


def keep_back(session: Session, balance_id: str, reserve_minor: int, by: By) -> None:
    """Set how much is kept back from payouts. Raises `Refused` when that much is not available."""
    balance = locked(session, balance_id)
    more = reserve_minor - balance.reserve_minor
    if reserve_minor < 0 or more > max(0, balance.available_minor):
        raise Refused("insufficient_funds", f"{balance_id} has not that much available to keep back")
    _move(session, balance_id, EntryKind.RESERVED, {Account.AVAILABLE: -more, Account.RESERVE: more}, by)


def set_terms(session: Session, balance_id: str, terms: Mapping[str, Any], by: By) -> Balance:
    """Change settings of a balance (`SETTABLE`), with what they were in the audit line. Raises `Refused`."""
    balance = locked(session, balance_id)
    before = {name: getattr(balance, name) for name in terms}
    if unknown := set(terms) - SETTABLE:
        raise ValueError(f"no terms of a balance: {', '.join(sorted(unknown))}")
    for name, value in terms.items():
        setattr(balance, name, value)
    try:
        session.flush()
    except IntegrityError as error:
        if not isinstance(error.orig, CheckViolation):
            raise
        raise Refused("invalid_terms", "a threshold and a number of refunds are never negative") from None
    tell(session, "balance.changed", balance, before, terms, by)
    return balance


SETTABLE: Final = frozenset(
    {
        "status",
        "negative_threshold_minor",
        "queued_refunds",
        "payouts_blocked",
        "transfer_frequency",
        "next_transfer_at",
    }
)


def locked(session: Session, balance_id: str) -> Balance:
    """Return a balance, locked as the ledger locks it. Raises `Refused`."""
    wanted = select(Balance).where(Balance.id == balance_id).with_for_update(key_share=True)
    balance = session.exec(wanted.execution_options(populate_existing=True)).one_or_none()
    if balance is None:
        raise Refused("unknown_balance", f"no balance {balance_id!r}; `ratchet balances list` shows them")
    return balance


def _check_positive(amount_minor: int) -> None:
    if amount_minor <= 0:
        raise Refused("invalid_amount", "the amount must be more than nothing")


def _move(session: Session, balance_id: str, kind: EntryKind, lines: Mapping[Account, int], by: By) -> None:
    if not 0 < len(by.reason.strip()) <= LONGEST_REASON:
        raise Refused(
            "reason_missing", f"money moves by hand only with a reason, of {LONGEST_REASON} characters at most"
        )
    balance = locked(session, balance_id)
    if balance.status != BalanceStatus.ACTIVE and kind is EntryKind.CREDITED:
        raise Refused("balance_inactive", f"{balance_id} is not active: `ratchet balances set {balance_id} --active`")
    book(session, [Booking(balance_id, kind, lines, note=by.reason.strip())], by.now)
    moved = to_text(abs(lines[Account.AVAILABLE]), balance.currency)
    sign = "-" if lines[Account.AVAILABLE] < 0 else ""
    tell(session, f"balance.{kind}", balance, None, {"available": f"{sign}{moved}", "currency": balance.currency}, by)


def tell(
    session: Session, action: str, balance: Balance, before: Mapping[str, Any] | None, after: Mapping[str, Any], by: By
) -> None:
    """Add the audit line, with the reason if there is one."""
    after = {**after, "reason": by.reason.strip()} if by.reason.strip() else after
    record(session, actor=by.actor, action=action, entity=balance.id, before=before, after=after, now=by.now)
