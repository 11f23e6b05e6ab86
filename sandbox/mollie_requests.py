"""What a caller asks of Mollie, read strictly: exact decimals, known fields, a cursor that exists.

Mollie answers a wrong field with 422 and its name, a wrong cursor or limit with 400.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sandbox.answers import Document, Refused
from sandbox.world import Payout

MAX_LIMIT: Final = 250
WITHOUT_DECIMALS: Final = frozenset({"ISK", "JPY"})
EVERYTHING_AVAILABLE: Final = {"currency": "EUR", "value": "1000.00"}
"""What an order without an amount pays out."""


@dataclass(frozen=True, slots=True)
class Order:
    """A well-formed POST /v2/payouts."""

    balance: str
    value: Decimal
    currency: str
    description: str


def read_order(body: Any) -> Order:
    """Read the body of a create call. Raises `Refused`."""
    if not isinstance(body, dict):
        raise Refused(400, "The request body must be an object")
    balance = _text(body, "balanceId", 64)
    if not balance.startswith("bal_"):
        raise Refused(422, "The balance id is invalid", "balanceId")
    value, currency = _amount(body.get("amount") or EVERYTHING_AVAILABLE)
    return Order(balance, value, currency, _text(body, "description", 255))


def _text(body: Document, field: str, longest: int) -> str:
    text = body.get(field) or ""
    if not isinstance(text, str) or len(text) > longest:
        raise Refused(422, f"The {field} must be text of at most {longest} characters", field)
    return text


def _amount(amount: Any) -> tuple[Decimal, str]:
    currency, value = (amount.get("currency"), amount.get("value")) if isinstance(amount, dict) else (None, None)
    if not isinstance(currency, str) or not re.fullmatch(r"[A-Z]{3}", currency):
        raise Refused(422, "The amount needs an ISO 4217 currency", "amount.currency")
    form = r"\d{1,12}" if currency in WITHOUT_DECIMALS else r"\d{1,12}\.\d{2}"
    if not isinstance(value, str) or not re.fullmatch(form, value, re.ASCII) or not Decimal(value):
        raise Refused(422, "The amount is not above zero with exactly the currency's decimals", "amount.value")
    return Decimal(value), currency


def order_key_of(description: str, idempotency_key: str) -> str:
    """Return what the caller seems to call this order.

    That is its Idempotency-Key where the description repeats it, or the description's last token in brackets, or its
    first word. The description decides, because a caller that loses its key and orders twice must be found out.
    """
    if idempotency_key and idempotency_key in description:
        return idempotency_key
    bracketed = re.search(r"\[([^\[\]]+)\]$", description)
    return bracketed.group(1) if bracketed else description.partition(" ")[0] or idempotency_key


def read_page(payouts: list[Payout], asked: Mapping[str, str]) -> tuple[int, int]:
    """Return where the page begins in the list and how long it may be. Raises `Refused`."""
    limit = asked.get("limit", "50")
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_LIMIT:
        raise Refused(400, f"The limit must be between 1 and {MAX_LIMIT}", "limit")
    references = [payout.reference for payout in payouts]
    if "from" in asked and asked["from"] not in references:
        raise Refused(400, "The cursor is not a payout of this account", "from")
    return references.index(asked["from"]) if "from" in asked else 0, int(limit)
