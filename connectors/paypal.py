"""PayPal: payouts to PayPal and Venmo balances. Listens only.

https://developer.paypal.com/api/rest/webhooks/rest/ and https://developer.paypal.com/docs/api/payments.payouts-batch/v1/

The webhook secret is PayPal's certificate as PEM: the leaf alone, or leaf, intermediates and root in this order, which
then are checked as a chain up to that root. A first line with its URL (`https://api.paypal.com/v1/notifications/certs/
CERT-…`) makes it answer to that `PAYPAL-CERT-URL` only. Nothing is fetched from the URL: it chooses among the pins, and
after PayPal has changed its certificate webhooks are refused as `unknown_key` until the new one is pinned.
`webhook_id` is the id that PayPal gave to our listener; it is part of what is signed, and without it nothing verifies.

What is signed of the body is its CRC-32, which anybody can keep while changing the text. So a body is a hint: it says
whom to ask about, and status, amount and our own key come from PayPal's API alone.
"""

import re
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar, Final

from cryptography.hazmat.primitives.hashes import SHA256

from connectors._asymmetric import PARSED_KEYS, iso_seconds, pins, prove, rsa_pkcs1
from connectors._base import (
    Connector,
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
from connectors._listening import path_id
from connectors._oauth import Authorized, Login
from connectors._signatures import decoded, fresh, from_base64, only_value
from connectors._x509 import Chain, chain, vouched_key
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "PENDING": PayoutStatus.INITIATED,
    "ONHOLD": PayoutStatus.INITIATED,
    "UNCLAIMED": PayoutStatus.BROADCAST,
    "SUCCESS": PayoutStatus.DELIVERED,
    "CANCELED": PayoutStatus.CANCELED,
    "FAILED": PayoutStatus.FAILED,
    "DENIED": PayoutStatus.FAILED,
    "BLOCKED": PayoutStatus.FAILED,
    "RETURNED": PayoutStatus.RETURNED,
    "REFUNDED": PayoutStatus.RETURNED,
    "REVERSED": PayoutStatus.RETURNED,
}
"""The words of PayPal's answer. UNCLAIMED money has left us and waits 30 days for its receiver, then it is RETURNED;
CANCELED, which only an unclaimed one can be, joins with it to FAILED.
"""

EVENTS: Final = "PAYMENT.PAYOUTS-ITEM."

ALGORITHM: Final = b"SHA256withRSA"

SEAL: Final = rsa_pkcs1(SHA256())

FUTURE_SECONDS: Final = 300
"""How far our clock and PayPal's may differ. Its age may be days, for retries may keep the time of the first try."""

_URL: Final = re.compile(rb"https://(?:[a-z0-9-]+\.)+paypal\.com/[A-Za-z0-9/._-]{1,200}", re.ASCII)
_ID: Final = re.compile(rb"[A-Za-z0-9-]{1,100}", re.ASCII)
_TIME: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII)


class PayPal(Connector):
    """One PayPal app and its webhook listener."""

    name = "paypal"
    DOCUMENTATION = "https://developer.paypal.com/api/rest/webhooks/event-names/#link-payouts"
    BASE_URL = "https://api-m.paypal.com"
    CREDENTIALS = ("client_id", "client_secret")
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "webhook_id": "",  # compulsory
            "certificate_name": "messageverificationcerts.paypal.com",  # messageverificationcerts.sandbox.paypal.com
            "tolerance_seconds": 259_200,  # ASSUMED, of age: retries go on for three days
        }
    )
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(days=1),
            PayoutStatus.SCHEDULED: timedelta(days=1),
            PayoutStatus.INITIATED: timedelta(days=3),
            PayoutStatus.BROADCAST: timedelta(days=31),  # unclaimed
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`PAYPAL-TRANSMISSION-SIG`: base64 of RSA with SHA-256 over `<id>|<time>|<webhook id>|<CRC-32>`."""
        pinned = pins(secrets, _certificate)
        if not self.option("webhook_id"):
            raise InvalidSignature(Reason.NO_SECRET_CONFIGURED)
        if only_value(request, b"paypal-auth-algo") != ALGORITHM:
            raise InvalidSignature(Reason.FORBIDDEN_ALGORITHM)
        (signature,) = decoded([only_value(request, b"paypal-transmission-sig")], from_base64)
        transmission, time = _read(request, b"id", _ID), _read(request, b"time", _TIME)
        seconds = iso_seconds(time)
        keys = [vouched_key(found, self.option("certificate_name"), now) for found in _chosen(request, pinned)]
        sum_of_body = str(zlib.crc32(request.body)).encode()
        message = b"|".join((transmission, time, str(self.option("webhook_id")).encode(), sum_of_body))
        prove(keys, signature, message, SEAL)
        return Verified(self._fresh(seconds, now))

    def _fresh(self, seconds: int, now: datetime) -> datetime:
        tolerance = self.option("tolerance_seconds")
        ahead = tolerance is not None and seconds > now.timestamp()
        return fresh(seconds, now, min(tolerance, FUTURE_SECONDS) if ahead else tolerance)

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return the event's id, which stays the same over retries."""
        try:
            return event_key(request, Fields.of(document(request.body)).values.get("id"))
        except UnreadableEvent:
            return digest_key(request.body)

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read which payout item to ask about. Our own key is left where it is: a forged one could lead us astray."""
        event = Fields.of(document(body))
        if not event.text("event_type").startswith(EVENTS):
            return []
        item = event.within("resource")
        return [PayoutUpdate(reference=item.text("payout_item_id"), status=None, said=item.text("transaction_status"))]

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /v1/payments/payouts-item/{id}, behind a login."""
        del order_key
        user, password = credential(self.account, "client_id"), credential(self.account, "client_secret")
        basic = {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}
        login = Login(f"{self.base_url}/v1/oauth2/token", {"grant_type": "client_credentials"}, basic)
        url = f"{self.base_url}/v1/payments/payouts-item/{path_id(reference)}"
        return await fetch_one(Authorized(http, login), url, {}, _update)


@lru_cache(PARSED_KEYS)
def _certificate(secret: str) -> tuple[bytes | None, Chain] | None:
    """Return the URL that a pin answers to, None for every one, and its chain; None for text that is no pin."""
    text = secret.strip()
    url, _, rest = text.partition("\n") if not text.startswith("-----") else ("", "", text)
    found, written = chain(rest), url.strip().encode("utf-8", "surrogatepass")
    if found is None or (written and not _URL.fullmatch(written)):
        return None
    return written or None, found


def _chosen(request: WebhookRequest, pinned: Sequence[tuple[bytes | None, Chain]]) -> list[Chain]:
    url = only_value(request, b"paypal-cert-url")
    if not _URL.fullmatch(url):
        raise InvalidSignature(Reason.UNTRUSTED_KEY_SOURCE)
    chains = [found for source, found in pinned if source in (None, url)]
    if not chains:
        raise InvalidSignature(Reason.UNKNOWN_KEY)
    return chains


def _read(request: WebhookRequest, name: bytes, pattern: re.Pattern[bytes]) -> bytes:
    """Return one part of what is signed; no part may hold the bar that separates them."""
    value = only_value(request, b"paypal-transmission-" + name)
    if not pattern.fullmatch(value):
        raise InvalidSignature(Reason.MALFORMED_HEADER)
    return value


def _update(body: bytes) -> PayoutUpdate:
    answer = Fields.of(document(body))
    item = answer.maybe_within("payout_item") or Fields({})
    amount = item.maybe_within("amount") or Fields({})
    errors = answer.maybe_within("errors") or Fields({})
    said = answer.text("transaction_status")
    currency = amount.maybe_text("currency")
    return PayoutUpdate(
        reference=answer.text("payout_item_id"),
        order_key=item.maybe_text("sender_item_id"),
        status=status_of(said, STATUSES),
        said=said,
        occurred_at=answer.moment("time_processed"),
        amount_minor=amount.amount("value", currency),
        currency=currency,
        failure_code=errors.maybe_text("name"),
        failure_message=errors.prose("message"),
    )
