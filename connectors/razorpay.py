"""RazorpayX: payouts in India. Listens only.

https://razorpay.com/docs/webhooks/payouts and https://razorpay.com/docs/api/x/payouts/fetch-with-id

No time is signed, so a body can be replayed for ever. Razorpay calls `processed` and `reversed` last and advises to
ignore what follows; yet payouts are reversed after they were processed, so nothing is ignored and both are joined.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import ClassVar, Final

from connectors._base import Connector, Http, NotFound, PayoutUpdate, UnreadableEvent, Verified, WebhookRequest
from connectors._calls import credential, fetch_one
from connectors._json import Fields, digest_key, document, event_key, status_of
from connectors._listening import currency_of, minor_units, path_id
from connectors._signatures import HEX, live_keys, prove_hmac, values
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "pending": PayoutStatus.PENDING,
    "queued": PayoutStatus.SCHEDULED,
    "scheduled": PayoutStatus.SCHEDULED,
    "processing": PayoutStatus.INITIATED,
    "processed": PayoutStatus.DELIVERED,
    "reversed": PayoutStatus.RETURNED,
    "rejected": PayoutStatus.CANCELED,
    "cancelled": PayoutStatus.CANCELED,
    "failed": PayoutStatus.FAILED,
}
"""`queued` waits for funds and can be canceled. `rejected` is a colleague's no to a pending payout, before anything was
handed over: called off, not failed."""

EVENTS: Final = "payout."


class Razorpay(Connector):
    """One RazorpayX account."""

    name = "razorpay"
    DOCUMENTATION = "https://razorpay.com/docs/webhooks/payouts"
    BASE_URL = "https://api.razorpay.com"
    CREDENTIALS = ("key_id", "key_secret")
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(days=3),  # it waits for a person's approval
            PayoutStatus.SCHEDULED: timedelta(days=7),
            PayoutStatus.INITIATED: timedelta(hours=24),
            PayoutStatus.BROADCAST: timedelta(hours=24),
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`X-Razorpay-Signature: <hex>`; HMAC-SHA256 over the raw body; no time.

        Retries of events from before a change of secret are still signed with the old one: keep both for a day.
        """
        del now
        keys = live_keys(secrets)
        prove_hmac(values(request, b"x-razorpay-signature"), HEX, keys, request.body)
        return Verified()

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return event, payout and a digest of the body.

        Razorpay's own event id travels in `X-Razorpay-Event-Id`, which the signature does not cover. A key made of it
        would let whoever saw one signed body replay it under ever new ids, or put it under the id of an event to come,
        which would then pass for a conflict. The body is all that is proven, and retries repeat it byte for byte.
        """
        try:
            event = Fields.of(document(request.body))
            payout = event.within("payload").within("payout").within("entity").values
        except UnreadableEvent:
            return digest_key(request.body)
        return event_key(request, event.values.get("event"), payout.get("id"), digest_key(request.body))

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read a payout event. News of a bank's downtime are payout events without a payout."""
        event = Fields.of(document(body))
        if not event.text("event").startswith(EVENTS):
            return []
        holder = event.within("payload").maybe_within("payout")
        return [_update(holder.within("entity"), event.moment("created_at"))] if holder else []

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /v1/payouts/{id}."""
        del order_key
        return await fetch_one(http, f"{self.base_url}/v1/payouts/{path_id(reference)}", self._headers(), _read)

    def _headers(self) -> dict[str, str]:
        login = f"{credential(self.account, 'key_id')}:{credential(self.account, 'key_secret')}"
        return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


def _update(payout: Fields, occurred_at: datetime | None = None) -> PayoutUpdate:
    said = payout.text("status")
    status = status_of(said, STATUSES)
    currency = currency_of(payout, "currency")
    details = payout.maybe_within("status_details") or Fields({})
    fell_through = status in {PayoutStatus.FAILED, PayoutStatus.RETURNED, PayoutStatus.CANCELED}
    return PayoutUpdate(
        reference=payout.text("id"),
        order_key=payout.maybe_text("reference_id"),
        status=status,
        said=said,
        occurred_at=occurred_at,
        amount_minor=minor_units(payout, "amount", currency),
        currency=currency,
        failure_code=details.maybe_text("reason") if fell_through else None,
        failure_message=(details.prose("description") or payout.prose("failure_reason")) if fell_through else None,
    )


def _read(body: bytes) -> PayoutUpdate:
    return _update(Fields.of(document(body)))
