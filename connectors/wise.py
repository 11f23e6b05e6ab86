"""Wise: transfers to bank accounts abroad. Listens only.

https://docs.wise.com/guides/developer/webhooks and https://docs.wise.com/api-reference/transfer

The webhook secret is Wise's public key for the environment (production and sandbox have one each), as PEM or as the
base64 that Wise's documentation prints. The signature covers the body alone: neither a time nor a receiver, so one
body can be replayed for ever, and `profile_id` keeps the events of other customers out.

Loops are legal: outgoing_payment_sent, bounced_back, outgoing_payment_sent again. The lattice holds them because
`bounced_back` claims no more than "on its way": before the payment was sent it leaves the payout in flight, after it
it is stale. Only `funds_refunded` proves that the money came back, and nothing that is said later takes that back;
a refund that itself bounces is Wise's to mend with a person.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final

from cryptography.hazmat.primitives.hashes import SHA256

from connectors._asymmetric import pin, pins, prove, rsa_pkcs1
from connectors._base import Connector, Http, NotFound, PayoutUpdate, UnreadableEvent, Verified, WebhookRequest
from connectors._calls import credential, fetch_one
from connectors._json import Fields, digest_key, document, event_key, exact_document, status_of
from connectors._listening import path_id
from connectors._signatures import decoded, from_base64, only_value
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "unknown": PayoutStatus.PENDING,
    "incoming_payment_waiting": PayoutStatus.PENDING,
    "incoming_payment_initiated": PayoutStatus.PENDING,
    "waiting_recipient_input_to_proceed": PayoutStatus.PENDING,
    "processing": PayoutStatus.INITIATED,
    "funds_converted": PayoutStatus.INITIATED,
    "bounced_back": PayoutStatus.BROADCAST,
    "outgoing_payment_sent": PayoutStatus.DELIVERED,
    "cancelled": PayoutStatus.CANCELED,
    "charged_back": PayoutStatus.FAILED,
    "funds_refunded": PayoutStatus.RETURNED,
}
"""`unknown` is a word of Wise's and says nothing, as PENDING does.

`charged_back`: our own funding was pulled. Before the payment was sent it has failed; after it the join is RETURNED.
"""

EVENT: Final = "transfers#state-change"

SEAL: Final = rsa_pkcs1(SHA256())


class Wise(Connector):
    """One Wise profile."""

    name = "wise"
    DOCUMENTATION = "https://docs.wise.com/api-reference/webhook-event/eventtransfersstatechange"
    BASE_URL = "https://api.wise.com"
    CREDENTIALS = ("api_token",)
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "profile_id": "",  # our profile; events of another are not about our payouts. Empty takes them all
            "amount_side": "target",  # ASSUMED: a payout's amount is what the beneficiary gets; or "source"
        }
    )
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(days=3),  # it waits for its funding
            PayoutStatus.SCHEDULED: timedelta(days=3),
            PayoutStatus.INITIATED: timedelta(days=3),
            PayoutStatus.BROADCAST: timedelta(days=7),  # it bounced, and people look for a way
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`X-Signature-SHA256`: base64 of RSA PKCS#1 v1.5 with SHA-256 over the raw body.

        `X-Signature`, which is SHA-1 and belongs to version 1 of the subscriptions, proves nothing.
        """
        del now
        keys = [pinned.key for pinned in pins(secrets, pin)]
        (signature,) = decoded([only_value(request, b"x-signature-sha256")], from_base64)
        prove(keys, signature, request.body, SEAL)
        return Verified()

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return transfer, state and time. `X-Delivery-Id` is not signed, so a replay could change it."""
        try:
            event = Fields.of(document(request.body))
            change = event.within("data")
            resource = change.within("resource").values
        except UnreadableEvent:
            return digest_key(request.body)
        said = (change.values.get("current_state"), change.values.get("occurred_at"))
        return event_key(request, event.values.get("event_type"), resource.get("id"), *said)

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read a transfer's change of state; amounts are not in it."""
        event = Fields.of(document(body))
        if event.text("event_type") != EVENT:
            return []
        change = event.within("data")
        resource = change.within("resource")
        if self.option("profile_id") and resource.identifier("profile_id") != str(self.option("profile_id")):
            return []
        said = change.text("current_state")
        return [
            PayoutUpdate(
                reference=resource.reference("id"),
                status=status_of(said, STATUSES),
                said=said,
                occurred_at=change.moment("occurred_at"),
            )
        ]

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /v1/transfers/{id}."""
        del order_key
        headers = {"Authorization": f"Bearer {credential(self.account, 'api_token')}"}
        return await fetch_one(http, f"{self.base_url}/v1/transfers/{path_id(reference)}", headers, self._read)

    def _read(self, body: bytes) -> PayoutUpdate:
        transfer = Fields.of(exact_document(body))
        said, side = transfer.text("status"), self.option("amount_side")
        currency = transfer.maybe_text(f"{side}Currency")
        return PayoutUpdate(
            reference=transfer.reference("id"),
            order_key=transfer.maybe_text("customerTransactionId"),
            status=status_of(said, STATUSES),
            said=said,
            amount_minor=transfer.amount(f"{side}Value", currency),
            currency=currency,
        )
