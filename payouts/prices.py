"""Rates and fees, as operators keep them, and what an amount costs by them. Decimals are exact, rounding is stated.

A quote asks nobody over the network: a live source writes rows into `rate` like an operator does (ADR 9).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, Inexact, InvalidOperation
from typing import Any, Final

from sqlalchemy.dialects.postgresql import distinct_on
from sqlmodel import Session, col, select

from models.audit import record
from models.integration import Integration
from models.money import MAX_AMOUNT_MINOR, InvalidAmount, exponent, to_text
from models.price import Fee, Rate
from payouts.refused import Refused
from payouts.treasury import LONGEST_REASON, By

_Terms = dict[str, str | int]

_WIDE: Final = Context(prec=100)
"""Wide enough that nothing is rounded before it is rounded on purpose: 18 + 18 digits, times 38."""

_EXACT: Final = Context(prec=40, traps=[Inexact, InvalidOperation])
"""Rather an error than a digit dropped."""

RATE_DECIMALS: Final = 18
PERCENT_DECIMALS: Final = 6
"""What the columns hold."""

LONGEST_ESTIMATE: Final = 31 * 86_400
"""Seconds. Nothing is on its way for longer; more is a slip of the pen."""

_NETWORK: Final = re.compile("[a-z0-9][a-z0-9_-]{0,39}")
"""As partners name it in a hint."""


@dataclass(frozen=True, slots=True)
class Item:
    """One part of the fee."""

    code: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Price:
    """What it costs to send `send_minor`, and what arrives."""

    send_minor: int
    items: tuple[Item, ...]
    get_minor: int
    """In minor units of the beneficiary's currency; not more than nothing where the fee eats it up."""

    @property
    def fee_minor(self) -> int:
        """All of the fee."""
        return sum(item.amount_minor for item in self.items)


def price(send_minor: int, asset: str, fee: Fee, currency: str, rate: Decimal | None) -> Price:
    """Return the price of sending so much of `asset` to somebody who gets `currency`.

    Each part of the fee is rounded up to the asset's minor unit, what arrives is rounded down to the currency's: never
    more is promised than was paid for.
    """
    percentage = _WIDE.divide(_WIDE.multiply(Decimal(send_minor), fee.percent), Decimal(100))
    items = (Item("service", _up(percentage)), Item("network", fee.fixed_minor))
    left = send_minor - sum(item.amount_minor for item in items)
    return Price(send_minor, tuple(item for item in items if item.amount_minor), converted(left, asset, currency, rate))


def converted(amount_minor: int, asset: str, currency: str, rate: Decimal | None) -> int:
    """Return minor units of `asset` as minor units of `currency`, rounded down."""
    if rate is None:
        return amount_minor
    shift = exponent(currency) - exponent(asset)
    return _down(_WIDE.scaleb(_WIDE.multiply(Decimal(amount_minor), rate), shift))


def rate_for(session: Session, source: str, target: str, now: datetime) -> Decimal | None:
    """Return the rate that counts, None between a currency and itself. Raises `Refused` when there is none."""
    if source == target:
        return None
    found = _newest_rate(session, source, target)
    if found is None:
        raise Refused("rate_missing", f"nobody has set a rate from {source} to {target}")
    if found.expires_at is not None and found.expires_at <= now:
        raise Refused("rate_expired", f"the rate from {source} to {target} is too old to quote")
    return found.rate


def set_rate(
    session: Session, source: str, target: str, rate: Decimal, by: By, expires_at: datetime | None = None
) -> Rate:
    """Have `rate` count from now on. Raises `Refused`."""
    for code in (source, target):
        _check_currency(code)
    if source == target or not (_fits(rate, RATE_DECIMALS) and 0 < rate < 10**20):
        raise Refused("invalid_rate", "a rate is between two currencies, above zero, with 18 decimals at most")
    _check_reason(by)
    before = _newest_rate(session, source, target)
    row = Rate(source=source, target=target, rate=rate, set_at=by.now, set_by=by.actor, expires_at=expires_at)
    session.add(row)
    session.flush()
    was: _Terms | None = {"rate": plain(before.rate)} if before else None
    _tell(session, "rate.set", f"rate:{source}/{target}", was, {"rate": plain(rate)}, by)
    return row


def _newest_rate(session: Session, source: str, target: str) -> Rate | None:
    newest = select(Rate).where(Rate.source == source, Rate.target == target).order_by(col(Rate.id).desc()).limit(1)
    return session.exec(newest).one_or_none()


def list_rates(session: Session) -> Sequence[Rate]:
    """Return the rates that count."""
    newest = select(Rate).ext(distinct_on(col(Rate.source), col(Rate.target)))
    return session.exec(newest.order_by(col(Rate.source), col(Rate.target), col(Rate.id).desc())).all()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFee:
    """What one way of sending an asset is to cost."""

    integration: str
    asset: str
    network: str = ""
    percent: Decimal
    fixed_minor: int
    estimated_seconds: int


def set_fee(session: Session, new: NewFee, by: By) -> Fee:
    """Have a way of sending cost so much. Raises `Refused`."""
    _check_fee(new)
    _check_reason(by)
    # Its row is locked: of two who set the same fee first, the second finds the first one's.
    account = select(Integration).where(Integration.slug == new.integration).with_for_update(key_share=True)
    integration = session.exec(account).one_or_none()
    if integration is None:
        raise Refused("unknown_integration", f"no integration {new.integration!r}; `ratchet gateways list` shows them")
    wanted = select(Fee).where(Fee.integration_id == integration.id, Fee.asset == new.asset, Fee.network == new.network)
    row = session.exec(wanted).one_or_none()
    before = _terms(row) if row else None
    terms: dict[str, Any] = {
        "percent": new.percent,
        "fixed_minor": new.fixed_minor,
        "estimated_seconds": new.estimated_seconds,
        "updated_at": by.now,
    }
    if row is None:
        row = Fee(integration_id=integration.id or 0, asset=new.asset, network=new.network, **terms)
    else:
        row.sqlmodel_update(terms)
    session.add(row)
    session.flush()
    _tell(session, "fee.set", f"fee:{new.integration}/{new.asset}/{new.network}", before, _terms(row), by)
    return row


def list_fees(session: Session) -> Sequence[tuple[Fee, str]]:
    """Return every way of sending, with its integration's slug."""
    rows = select(Fee, Integration.slug).where(col(Integration.id) == Fee.integration_id)
    return session.exec(rows.order_by(Integration.slug, col(Fee.asset), col(Fee.network))).all()


def plain(number: Decimal) -> str:
    """Return a rate or a percentage as it was typed, to the last digit: no exponent, no zeros behind."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _terms(fee: Fee) -> _Terms:
    fixed = to_text(fee.fixed_minor, fee.asset)
    return {"percent": plain(fee.percent), "fixed": fixed, "estimated_seconds": fee.estimated_seconds}


def _tell(session: Session, action: str, entity: str, before: _Terms | None, after: _Terms, by: By) -> None:
    after = {**after, "reason": by.reason} if by.reason else after
    record(session, actor=by.actor, action=action, entity=entity, before=before, after=after, now=by.now)


def _check_currency(code: str) -> None:
    try:
        exponent(code)
    except InvalidAmount as error:
        raise Refused("unknown_currency", str(error)) from None


def _check_fee(new: NewFee) -> None:
    _check_currency(new.asset)
    if new.network and not _NETWORK.fullmatch(new.network):
        raise Refused("invalid_fee", "a network is one word in small letters: tron, ethereum, bsc")
    if not (_fits(new.percent, PERCENT_DECIMALS) and 0 <= new.percent < 100):  # noqa: PLR2004 (per cent)
        raise Refused("invalid_fee", "a percentage is from 0 to below 100, with 6 decimals at most")
    if not 0 <= new.fixed_minor <= MAX_AMOUNT_MINOR:
        raise Refused("invalid_fee", "a fixed fee is not negative")
    if not 0 < new.estimated_seconds <= LONGEST_ESTIMATE:
        raise Refused("invalid_fee", f"it takes from one second to {LONGEST_ESTIMATE}, which is 31 days")


def _check_reason(by: By) -> None:
    if len(by.reason) > LONGEST_REASON:
        raise Refused("reason_too_long", f"say where it is from in {LONGEST_REASON} characters at most")


def _fits(number: Decimal, decimals: int) -> bool:
    """Tell whether a column of so many decimals holds it to the last digit."""
    try:
        return number.is_finite() and _EXACT.quantize(number, Decimal((0, (1,), -decimals))) == number
    except (Inexact, InvalidOperation):
        return False


def _up(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_CEILING, _WIDE))


def _down(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_FLOOR, _WIDE))
