"""Amounts are integers in minor units; this module is where they meet the text that gateways and people write.

Precision comes from ISO 4217 (the `iso4217` package carries the standard's own table) and, for assets that the
standard does not list, from `ASSET_EXPONENTS`.
"""

import re
from decimal import Context, Decimal, Inexact
from functools import cache
from typing import Final

from iso4217 import Currency

MAX_AMOUNT_MINOR: Final = 10**18
"""Above any real payout and below PostgreSQL's bigint."""

ASSET_EXPONENTS: Final = {"USDT": 6, "USDC": 6, "XAUT": 6, "BTC": 8, "ETH": 9}
"""Decimals kept for assets outside ISO 4217. ETH is kept in gwei so that a bigint holds any amount."""

_PLAIN: Final = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)
_EXACT: Final = Context(prec=100, traps=[Inexact])
"""Rather an error than a digit dropped."""
_NOTHING: Final = Decimal(0)
_MOST: Final = Decimal(MAX_AMOUNT_MINOR)


class InvalidAmount(ValueError):
    """The text is no amount of that currency: unknown currency, not a number, too precise, negative or absurd."""


@cache
def exponent(currency: str) -> int:
    """Return how many decimals `currency` has. Raises `InvalidAmount` for a code nobody defines."""
    if currency in ASSET_EXPONENTS:
        return ASSET_EXPONENTS[currency]
    try:
        digits = Currency(currency).exponent
    except ValueError:
        raise InvalidAmount(f"unknown currency {currency[:16]!r}") from None
    if digits is None:
        raise InvalidAmount(f"{currency} has no minor unit")
    return digits


def to_minor(amount: str | int | Decimal, currency: str) -> int:
    """Return `amount` (major units) in minor units of `currency`.

    Raises `InvalidAmount` when it cannot be held exactly: a float is refused, so is a third decimal of EUR,
    and text is plain digits with at most one point, whatever else Python would read as a number.
    """
    decimals = exponent(currency)
    # `True` is an int to Python, and a float reaches us through JSON whatever the annotation says.
    is_number = type(amount) in (int, Decimal) or (isinstance(amount, str) and _PLAIN.fullmatch(amount))
    if not is_number:
        raise InvalidAmount("not a decimal number")
    try:
        shifted = Decimal(amount).scaleb(decimals, _EXACT)
        minor = int(shifted) if _NOTHING <= shifted <= _MOST else -1
    except (ArithmeticError, ValueError):
        raise InvalidAmount("not a decimal number") from None
    if minor < 0 or minor != shifted:
        raise InvalidAmount(f"not an amount of {currency}")
    return minor


def to_text(amount_minor: int, currency: str) -> str:
    """Return minor units as the decimal text of the currency: 250000 EUR is `2500.00`, 2000 XOF is `2000`."""
    digits, decimals = str(amount_minor), exponent(currency)
    if decimals == 0:
        return digits
    digits = digits.zfill(decimals + 1 + (amount_minor < 0))
    return f"{digits[:-decimals]}.{digits[-decimals:]}"
