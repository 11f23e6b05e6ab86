"""Modern Treasury: payment orders through the customer's own banks. Listens only.

https://docs.moderntreasury.com/platform/reference/webhooks and
https://docs.moderntreasury.com/platform/reference/payment-order-object

No time is signed, and the ids of a webhook travel in headers that the signature does not cover. `completed` is not the
end: a return or a reversal may follow, each as an object of its own.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final

from connectors._base import Connector, Http, NotFound, PayoutUpdate, UnreadableEvent, Verified, WebhookRequest
from connectors._calls import credential, fetch_one
from connectors._json import Fields, digest_key, document, event_key, status_of
from connectors._listening import currency_of, metadata_key, minor_units, path_id
from connectors._signatures import HEX, live_keys, prove_hmac, values
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "needs_approval": PayoutStatus.PENDING,
    "pending": PayoutStatus.PENDING,
    "held": PayoutStatus.PENDING,
    "approved": PayoutStatus.SCHEDULED,
    "processing": PayoutStatus.INITIATED,
    "sent": PayoutStatus.BROADCAST,
    "confirmed": PayoutStatus.BROADCAST,
    "completed": PayoutStatus.DELIVERED,
    "denied": PayoutStatus.CANCELED,
    "cancelled": PayoutStatus.CANCELED,
    "stopped": PayoutStatus.CANCELED,
    "failed": PayoutStatus.FAILED,
    "returned": PayoutStatus.RETURNED,
    "reversed": PayoutStatus.RETURNED,
}
"""`held` may follow approval; the lowest word for it takes nothing back. `stopped` calls a cheque off: before it went
out that is a cancellation, afterwards the lattice makes it a failure by itself."""

PAYOUT: Final = "payment_order"

HINTS: Final = {"return": "returnable_id", "reversal": "payment_order_id"}
"""Objects that are about a payment order without being one, and where each names it: they make us ask."""


class ModernTreasury(Connector):
    """One Modern Treasury organisation."""

    name = "modern_treasury"
    DOCUMENTATION = "https://docs.moderntreasury.com/platform/reference/webhooks"
    BASE_URL = "https://app.moderntreasury.com/api"
    CREDENTIALS = ("organization_id", "api_key")
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"metadata_key": "order_key"}  # where whoever makes the payment order writes our key
    )
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(days=3),  # it waits for a person's approval
            PayoutStatus.SCHEDULED: timedelta(days=4),
            PayoutStatus.INITIATED: timedelta(days=2),
            PayoutStatus.BROADCAST: timedelta(days=5),  # ACH takes days, over a weekend more
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`X-Signature: <hex>`; HMAC-SHA256 over the raw body with the webhook key; no time."""
        del now
        keys = live_keys(secrets)
        prove_hmac(values(request, b"x-signature"), HEX, keys, request.body)
        return Verified()

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return object, id, event and a digest of the body: the webhook's own id stands in an unsigned header."""
        try:
            event = Fields.of(document(request.body))
            subject = event.within("data").values
        except UnreadableEvent:
            return digest_key(request.body)
        identity = (subject.get("object"), subject.get("id"), event.values.get("event"))
        return event_key(request, *identity, digest_key(request.body))

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read a payment order that pays (`credit`), or an object that makes us ask about one.

        The topic stands in an unsigned header; what the message is about is read from the object itself.
        """
        event = Fields.of(document(body))
        said = event.text("event")
        subject = event.within("data")
        kind = subject.text("object")
        if kind in HINTS:
            return _hint(subject, HINTS[kind], f"{kind}.{said}"[:64])
        if kind != PAYOUT or subject.maybe_text("direction") == "debit":
            return []
        return [self._update(subject)]

    def _update(self, order: Fields) -> PayoutUpdate:
        said = order.text("status")
        status = status_of(said, STATUSES)
        currency = currency_of(order, "currency")
        returned = order.maybe_within("current_return") or Fields({})
        return PayoutUpdate(
            reference=order.text("id"),
            order_key=metadata_key(order, self.option("metadata_key")),
            status=status,
            said=said,
            occurred_at=order.moment("updated_at"),
            amount_minor=minor_units(order, "amount", currency),
            currency=currency,
            failure_code=returned.maybe_text("code") if status is PayoutStatus.RETURNED else None,
            failure_message=returned.prose("reason") if status is PayoutStatus.RETURNED else None,
        )

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /payment_orders/{id}."""
        del order_key
        url = f"{self.base_url}/payment_orders/{path_id(reference)}"
        return await fetch_one(http, url, self._headers(), lambda body: self._update(Fields.of(document(body))))

    def _headers(self) -> dict[str, str]:
        login = f"{credential(self.account, 'organization_id')}:{credential(self.account, 'api_key')}"
        return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


def _hint(subject: Fields, named_in: str, said: str) -> list[PayoutUpdate]:
    if subject.maybe_text("returnable_type") not in {None, PAYOUT}:
        return []  # the return of something that came in
    reference = subject.maybe_text(named_in)
    return [PayoutUpdate(reference=reference, status=None, said=said)] if reference else []
