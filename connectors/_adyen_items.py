"""Adyen's classic notification items: the eight fields that each one's signature covers, and what they say.

https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures
"""

from collections.abc import Mapping
from typing import Any, Final

from connectors._base import InvalidSignature, PayoutUpdate, Reason, UnreadableEvent
from connectors._json import Fields
from connectors._listening import currency_of, minor_units
from connectors._signatures import field_list, utf8
from models.lifecycle import PayoutStatus

MAX_ITEMS: Final = 100
"""Items in one message. Adyen puts a handful; each costs a signature."""

ITEM: Final = "NotificationRequestItem"

MERCHANT_REFERENCE: Final = 3
"""The one field that people outside Adyen write, and so the one that may hold the separator."""

STATUSES: Final[Mapping[str, PayoutStatus | None]] = {
    "PAYOUT_THIRDPARTY:true": PayoutStatus.BROADCAST,
    "PAYOUT_THIRDPARTY:false": PayoutStatus.FAILED,
    "PAYOUT_DECLINE:true": PayoutStatus.CANCELED,
    "PAYOUT_DECLINE:false": None,
    "PAYOUT_EXPIRE:true": PayoutStatus.CANCELED,
    "PAYOUT_EXPIRE:false": None,
    "PAIDOUT_REVERSED:true": PayoutStatus.RETURNED,
    "PAIDOUT_REVERSED:false": None,
}
"""Event code and success. The classic API never says that money arrived: sent to the bank is its last good news, and
PAIDOUT_REVERSED is the bank sending it back. A decline, expiry or reversal that did not succeed says nothing."""


def signed_items(message: Fields) -> list[Fields]:
    """Return the items of a message. Raises `UnreadableEvent` without any or with too many."""
    items = message.values.get("notificationItems")
    if not isinstance(items, list) or not 0 < len(items) <= MAX_ITEMS:
        raise UnreadableEvent("notificationItems has none or too many")
    return [Fields.of(item.get(ITEM) if isinstance(item, dict) else item, ITEM) for item in items]


def sealed_text(item: Fields) -> bytes:
    """Return the eight fields joined by colons, as the signature covers them. Raises `InvalidSignature`."""
    of = item.values.get
    amount = of("amount") or {}
    if not isinstance(amount, dict):
        raise InvalidSignature(Reason.MALFORMED_HEADER)
    found = [of("pspReference"), of("originalReference"), of("merchantAccountCode"), of("merchantReference")]
    found += [amount.get("value"), amount.get("currency"), of("eventCode"), of("success")]
    texts = [value if type(value) is str else _text(value) for value in found]
    return utf8(field_list(texts, ":", MERCHANT_REFERENCE))


def signature_of(item: Fields) -> bytes:
    """Return the text of an item's own signature. Raises `missing_header`."""
    more = item.values.get("additionalData")
    text = more.get("hmacSignature") if isinstance(more, dict) else None
    if not isinstance(text, str) or not text:
        raise InvalidSignature(Reason.MISSING_HEADER)
    return utf8(text)


def _text(value: Any) -> str:
    """Return a field that is no text as Adyen signs it: absent is empty, a number is its digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise InvalidSignature(Reason.MALFORMED_HEADER)


def read_item(item: Fields, decimals: Mapping[str, int]) -> PayoutUpdate | None:
    """Return what the signed fields say, None where they are not about a payout."""
    code = item.text("eventCode")
    if not code.startswith(("PAYOUT_", "PAIDOUT_")):
        return None
    said = f"{code}:{str(item.values.get('success')).lower()}"
    if said not in STATUSES:
        raise UnreadableEvent("eventCode and success are words we do not know")
    amount = item.maybe_within("amount") or Fields({})
    currency = currency_of(amount, "currency")
    return PayoutUpdate(
        reference=item.maybe_text("originalReference") or item.text("pspReference"),
        order_key=item.maybe_text("merchantReference"),
        status=STATUSES[said],
        said=said,
        amount_minor=minor_units(amount, "value", currency, decimals),
        currency=currency,
    )
