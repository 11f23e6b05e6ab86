"""Stripe: payouts from a balance to its owner's bank account. Listens only.

https://docs.stripe.com/webhooks and https://docs.stripe.com/api/payouts/object

A payout may be `paid` first and `failed` up to five business days later; both are evidence, and together they are a
return. Events arrive in no order.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final

from connectors._base import (
    Connector,
    Http,
    NotFound,
    PayoutUpdate,
    UnreadableEvent,
    Verified,
    WebhookRequest,
)
from connectors._calls import credential, fetch_one
from connectors._json import Fields, digest_key, document, event_key, status_of
from connectors._listening import currency_of, metadata_key, minor_units, path_id
from connectors._signatures import HEX, fresh, live_keys, only_value, prove_hmac, tagged, unix_seconds
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "pending": PayoutStatus.SCHEDULED,
    "in_transit": PayoutStatus.BROADCAST,
    "paid": PayoutStatus.DELIVERED,
    "failed": PayoutStatus.FAILED,
    "canceled": PayoutStatus.CANCELED,
}
"""`pending` has an arrival date from the start and can be canceled until it goes to the bank: it is scheduled."""

EVENTS: Final = "payout."

THIN: Final = "v2.core.event"
"""The kind of event that names its object and does not hold it."""

DECIMALS: Final = {"ISK": 2, "UGX": 2, "MGA": 0}
"""https://docs.stripe.com/currencies#special-cases: minor units that are not those of ISO 4217."""


class Stripe(Connector):
    """One Stripe account."""

    name = "stripe"
    DOCUMENTATION = "https://docs.stripe.com/api/payouts/object"
    BASE_URL = "https://api.stripe.com"
    CREDENTIALS = ("secret_key",)
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "tolerance_seconds": 300,  # both ways; Stripe's own libraries look at the age only
            "metadata_key": "order_key",  # where whoever makes the payout writes our key
            "connected_account": "",  # acct_…: whose payouts the calls read, on a platform
        }
    )
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(days=5),
            PayoutStatus.SCHEDULED: timedelta(days=5),  # over a long weekend too
            PayoutStatus.INITIATED: timedelta(days=2),
            PayoutStatus.BROADCAST: timedelta(days=7),  # some countries' banks take a week
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=…][,v0=…]`; HMAC-SHA256 over `<t>.<raw body>`.

        The key is the whole text of the secret, `whsec_` and all. v0 is Stripe's test scheme and proves nothing.
        """
        keys = live_keys(secrets)
        said = tagged(only_value(request, b"stripe-signature"))
        time = b",".join(said.get(b"t", ()))  # two of them are no time
        seconds = unix_seconds(time)
        prove_hmac(said.get(b"v1", ()), HEX, keys, time + b"." + request.body)
        return Verified(fresh(seconds, now, self.option("tolerance_seconds")))

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return the event's id, which stays the same over retries."""
        try:
            event = Fields.of(document(request.body)).values
        except UnreadableEvent:
            return digest_key(request.body)
        return event_key(request, event.get("id"))

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read a payout event, or a thin event about a payout, which only makes us ask."""
        event = Fields.of(document(body))
        kind = event.text("type")
        if event.values.get("object") == THIN:
            return _hint(event, kind)
        if not kind.startswith(EVENTS):
            return []
        payout = event.within("data").within("object")
        return [] if _is_debit(payout) else [self._update(payout, event.moment("created"))]

    def _update(self, payout: Fields, occurred_at: datetime | None = None) -> PayoutUpdate:
        said = payout.text("status")
        status = status_of(said, STATUSES)
        currency = currency_of(payout, "currency")
        failed = status is PayoutStatus.FAILED
        return PayoutUpdate(
            reference=payout.text("id"),
            order_key=metadata_key(payout, self.option("metadata_key")),
            status=status,
            said=said,
            occurred_at=occurred_at,
            amount_minor=minor_units(payout, "amount", currency, DECIMALS),
            currency=currency,
            failure_code=payout.maybe_text("failure_code") if failed else None,
            failure_message=payout.prose("failure_message") if failed else None,
            estimated_delivery_at=payout.moment("arrival_date"),
        )

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /v1/payouts/{id}."""
        del order_key
        url = f"{self.base_url}/v1/payouts/{path_id(reference)}"
        return await fetch_one(http, url, self._headers(), lambda body: self._update(Fields.of(document(body))))

    def _headers(self) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {credential(self.account, 'secret_key')}"}
        account = self.option("connected_account")
        return headers | {"Stripe-Account": account} if account else headers


def _hint(event: Fields, kind: str) -> list[PayoutUpdate]:
    related = event.maybe_within("related_object")
    if related is None or related.maybe_text("type") != "payout":
        return []
    return [PayoutUpdate(reference=related.text("id"), status=None, said=kind, occurred_at=event.moment("created"))]


def _is_debit(payout: Fields) -> bool:
    """Say whether Stripe takes money from the bank account, to even out a negative balance: no payout of anybody's."""
    amount = payout.values.get("amount")
    return type(amount) is int and amount < 0
