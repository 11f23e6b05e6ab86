"""Circle: payouts of USDC balances to bank accounts. Listens only.

https://developers.circle.com/wallets/webhook-notifications and https://developers.circle.com/api-reference

The webhook secret is Circle's public key, `keyid=<the id that X-Circle-Key-Id names> <base64 SPKI or PEM>`, as its API
gives it out under /v2/notifications/publicKey/{id}; without `keyid=` it answers to every id. The signature covers the
body alone, neither a time nor a receiver. A return is an object of its own, beside or inside the payout.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import ClassVar, Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.hashes import SHA256

from connectors._asymmetric import chosen, ecdsa_der, pin, pins, prove
from connectors._base import Connector, Http, NotFound, PayoutUpdate, UnreadableEvent, Verified, WebhookRequest
from connectors._calls import credential, fetch_one
from connectors._json import Fields, digest_key, document, event_key, exact_document, status_of
from connectors._listening import currency_of, path_id
from connectors._signatures import decoded, from_base64, only_value
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "pending": PayoutStatus.INITIATED,
    "complete": PayoutStatus.DELIVERED,
    "failed": PayoutStatus.FAILED,
}
"""`pending` has left the balance already. A complete return makes the payout RETURNED, whatever its own word."""

PAYOUTS: Final = "payouts"

RETURNS: Final = "returns"

SEAL: Final = ecdsa_der(SECP256R1(), SHA256())


class Circle(Connector):
    """One Circle account."""

    name = "circle"
    DOCUMENTATION = "https://developers.circle.com/circle-mint/notifications-data-models"
    BASE_URL = "https://api.circle.com"
    CREDENTIALS = ("api_key",)
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(days=1),
            PayoutStatus.SCHEDULED: timedelta(days=1),
            PayoutStatus.INITIATED: timedelta(days=4),  # a wire over a long weekend
            PayoutStatus.BROADCAST: timedelta(days=4),
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`X-Circle-Signature`: base64 of the DER of ECDSA P-256 with SHA-256 over the raw body."""
        del now
        pinned = pins(secrets, pin)
        (signature,) = decoded([only_value(request, b"x-circle-signature")], from_base64)
        keyid = only_value(request, b"x-circle-key-id").decode("latin-1")
        prove(chosen(pinned, keyid), signature, request.body, SEAL)
        return Verified()

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return the notification's id, which stays the same over retries."""
        try:
            return event_key(request, Fields.of(document(request.body)).values.get("notificationId"))
        except UnreadableEvent:
            return digest_key(request.body)

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read a notification about a payout or a return. Its object stands alone, or under its own name (ASSUMED)."""
        envelope = Fields.of(exact_document(body))
        kind = envelope.text("notificationType").partition(".")[0]
        if kind not in {PAYOUTS, RETURNS}:
            return []
        notification = envelope.within("notification")
        found = notification.maybe_within(kind.removesuffix("s")) or notification
        return [_update(found) if kind == PAYOUTS else _returned(found)]

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /v1/payouts/{id}."""
        del order_key
        headers = {"Authorization": f"Bearer {credential(self.account, 'api_key')}"}
        return await fetch_one(http, f"{self.base_url}/v1/payouts/{path_id(reference)}", headers, _read)


def _update(payout: Fields) -> PayoutUpdate:
    said = payout.text("status")
    status = status_of(said, STATUSES)
    sent_back = payout.maybe_within("return")
    if sent_back is not None and status_of(sent_back.text("status"), STATUSES) is PayoutStatus.DELIVERED:
        status = PayoutStatus.RETURNED
    amount = payout.maybe_within("amount") or Fields({})
    currency = currency_of(amount, "currency")
    return PayoutUpdate(
        reference=payout.text("id"),
        status=status,
        said=said,
        occurred_at=payout.moment("updateDate"),
        amount_minor=amount.amount("amount", currency),
        currency=currency,
        failure_code=payout.maybe_text("errorCode"),
    )


def _returned(sent_back: Fields) -> PayoutUpdate:
    """Return what a return says of its payout. One that is not complete yet is a reason to ask, and no more."""
    said = sent_back.text("status")
    is_back = status_of(said, STATUSES) is PayoutStatus.DELIVERED
    return PayoutUpdate(
        reference=sent_back.text("payoutId"),
        status=PayoutStatus.RETURNED if is_back else None,
        said=f"return {said}",
        occurred_at=sent_back.moment("updateDate"),
        failure_code=sent_back.maybe_text("reason"),
    )


def _read(body: bytes) -> PayoutUpdate:
    return _update(Fields.of(exact_document(body)).within("data"))
