"""What a caller asks of BridgerPay, read strictly. A wrong field is 400 with its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sandbox.answers import Document, Refused

MAX_PAGE: Final = 10_000
MAX_LIMIT: Final = 100
MAX_AMOUNT: Final = 10**15
REQUIRED: Final = ("order_id", "provider", "country", "currency", "payout_method_type")


@dataclass(frozen=True, slots=True)
class Order:
    """A well-formed create call."""

    order_id: str
    amount: Decimal
    currency: str
    description: str
    """`order_description`, which only records show, and the texts of the metadata, which are a caller's own too."""
    extra: Document


@dataclass(frozen=True, slots=True)
class Filter:
    """What of the list is asked for."""

    order_id: str | None
    status: str | None
    newest_first: bool
    page: int
    limit: int


def read_order(body: Any) -> Order:
    """Read the body of a create call. Raises `Refused`."""
    if not isinstance(body, dict):
        raise Refused(400, "The request body must be an object")
    for name in REQUIRED:
        if not isinstance(body.get(name), str) or not body[name]:
            raise Refused(400, f"{name} must be text", name)
    amount, metadata = body.get("amount"), body.get("metadata")
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal) or not 0 < amount < MAX_AMOUNT:
        raise Refused(400, "amount must be a number above zero", "amount")
    if not isinstance(metadata, dict):
        raise Refused(400, "metadata must be an object", "metadata")
    texts = [body.get("order_description"), *metadata.values()]
    description = " ".join(text for text in texts if isinstance(text, str))
    extra = {name: body[name] for name in ("provider", "country", "payout_method_type")}
    return Order(body["order_id"], Decimal(amount), body["currency"], description, extra)


def read_filter(asked: Mapping[str, str]) -> Filter:
    """Read the query of the list. Raises `Refused`."""
    return Filter(
        order_id=asked.get("merchantOrderId"),
        status=asked.get("status"),
        newest_first=asked.get("sortDir", "desc") == "desc",
        page=_count(asked, "page", 1, MAX_PAGE),
        limit=_count(asked, "limit", 24, MAX_LIMIT),
    )


def _count(asked: Mapping[str, str], name: str, usual: int, most: int) -> int:
    text = asked.get(name, str(usual))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise Refused(400, f"{name} must be a number from 1 to {most}", name)
    return int(text)
