"""Adyen: transfers of the Balance Platform, and items of the classic Payout API. Listens only.

https://docs.adyen.com/payouts/payout-service/pay-out-to-bank-accounts/payout-webhooks (transfers),
https://docs.adyen.com/online-payments/online-payouts/payout-webhook (items) and
https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures (both signatures)

A transfer's signature stands in a header and covers the raw body. An item carries its own, over eight of its fields:
those eight are all that is read of it, for anything else in the body may have been written by anyone.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Any, ClassVar, Final

from connectors._adyen_items import read_item, sealed_text, signature_of, signed_items
from connectors._base import (
    Connector,
    GatewayUnavailable,
    Http,
    InvalidSignature,
    NotFound,
    PayoutUpdate,
    Reason,
    UnreadableEvent,
    Verified,
    WebhookRequest,
)
from connectors._calls import credential, fetch_one
from connectors._json import Fields, digest_key, document, event_key, status_of
from connectors._listening import currency_of, minor_units, path_id
from connectors._signatures import BASE64, hex_key, live_keys, only_value, prove_hmac, values
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "received": PayoutStatus.PENDING,
    "pending": PayoutStatus.PENDING,
    "pendingApproval": PayoutStatus.PENDING,
    "approvalPending": PayoutStatus.PENDING,
    "pendingExecution": PayoutStatus.SCHEDULED,
    "authorised": PayoutStatus.INITIATED,
    "bookingPending": PayoutStatus.INITIATED,
    "booked": PayoutStatus.BROADCAST,
    "credited": PayoutStatus.DELIVERED,
    "cancelled": PayoutStatus.CANCELED,
    "rejected": PayoutStatus.CANCELED,
    "expired": PayoutStatus.CANCELED,
    "refused": PayoutStatus.FAILED,
    "failed": PayoutStatus.FAILED,
    "error": PayoutStatus.FAILED,
    "returned": PayoutStatus.RETURNED,
    "reversed": PayoutStatus.RETURNED,
}
"""`booked` takes the funds from the balance account on their way to the bank; `returned` may follow it late. `rejected`
and `expired` end an approval that never came, before anything was handed over. A booked transfer whose tracking
confirms that the beneficiary was credited is DELIVERED."""

EVENTS: Final = "balancePlatform.transfer."

DECIMALS: Final = {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}
"""https://docs.adyen.com/development-resources/currency-codes: minor units that are not those of ISO 4217."""


class Adyen(Connector):
    """One Adyen balance platform, or one merchant account of the classic Payout API."""

    name = "adyen"
    DOCUMENTATION = "https://docs.adyen.com/payouts/payout-service/pay-out-to-bank-accounts/payout-webhooks"
    BASE_URL = "https://balanceplatform-api-live.adyen.com/btl/v4"
    CREDENTIALS = ("api_key",)
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "categories": "bank,card",  # which outgoing transfers are payouts
            "can_read": True,  # false for the classic Payout API, whose payouts no call reads
        }
    )
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(days=2),
            PayoutStatus.SCHEDULED: timedelta(days=5),
            PayoutStatus.INITIATED: timedelta(days=1),
            PayoutStatus.BROADCAST: timedelta(days=5),  # not every bank confirms the credit
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """Return for a transfer whose header fits, or for items each of which fits; base64 HMAC-SHA256, key in hex.

        Neither signs a time. `parse` reads the same form that was proven: it takes items wherever there are any.
        """
        del now
        keys = live_keys(secrets, hex_key)
        if request.values(b"hmacsignature"):
            _prove_body(request, keys)
        else:
            _prove_items(request.body, keys)
        return Verified()

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return a transfer's id and sequence number; for items a digest of what their signatures cover.

        What is unsigned in an item must not make it another message: whoever saw it could send it for ever anew.
        """
        try:
            message = Fields.of(document(request.body))
            if "notificationItems" in message.values:
                sealed = b"\n".join(sealed_text(item) for item in signed_items(message))
                return f"items:{sha256(sealed).hexdigest()}"
            transfer = message.within("data").values
        except (UnreadableEvent, InvalidSignature):
            return digest_key(request.body)
        return event_key(request, message.values.get("type"), transfer.get("id"), transfer.get("sequenceNumber"))

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read items, or one outgoing transfer to a bank account or card."""
        message = Fields.of(document(body))
        if "notificationItems" in message.values:
            updates = (read_item(item, DECIMALS) for item in signed_items(message))
            return [update for update in updates if update is not None]
        if not message.text("type").startswith(EVENTS):
            return []
        transfer = message.within("data")
        is_payout = transfer.text("category") in self.option("categories").split(",")
        return [_update(transfer)] if is_payout and transfer.maybe_text("direction") != "incoming" else []

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /transfers/{id}."""
        del order_key
        if not self.option("can_read"):
            raise GatewayUnavailable("the classic Payout API has no call that reads a payout")
        headers = {"X-API-Key": credential(self.account, "api_key")}
        url = f"{self.base_url}/transfers/{path_id(reference)}"
        return await fetch_one(http, url, headers, lambda body: _update(Fields.of(document(body))))


def _prove_body(request: WebhookRequest, keys: Sequence[bytes]) -> None:
    if only_value(request, b"protocol") != b"HmacSHA256":
        raise InvalidSignature(Reason.FORBIDDEN_ALGORITHM)
    prove_hmac(values(request, b"hmacsignature"), BASE64, keys, request.body)


def _prove_items(body: bytes, keys: Sequence[bytes]) -> None:
    """Return when every item fits: one that does not would ride in on the others."""
    try:
        items = signed_items(Fields.of(document(body)))
    except UnreadableEvent:
        raise InvalidSignature(Reason.MISSING_HEADER) from None
    for item in items:
        prove_hmac([signature_of(item)], BASE64, keys, sealed_text(item))


def _update(transfer: Fields) -> PayoutUpdate:
    said = transfer.text("status")
    status = status_of(said, STATUSES)
    tracking = transfer.maybe_within("tracking") or Fields({})
    if status is PayoutStatus.BROADCAST and tracking.maybe_text("status") == "credited":
        status = PayoutStatus.DELIVERED
    amount = transfer.maybe_within("amount") or Fields({})
    currency = currency_of(amount, "currency")
    fell_through = status in {PayoutStatus.FAILED, PayoutStatus.CANCELED, PayoutStatus.RETURNED}
    return PayoutUpdate(
        reference=transfer.text("id"),
        order_key=transfer.maybe_text("reference"),
        status=status,
        said=said,
        occurred_at=transfer.moment("updatedAt") or transfer.moment("createdAt"),
        amount_minor=minor_units(amount, "value", currency, DECIMALS),
        currency=currency,
        failure_code=transfer.maybe_text("reason") if fell_through else None,
        estimated_delivery_at=tracking.moment("estimatedArrivalTime"),
    )
