"""PayCore.io (Corefy): payouts orchestrated over many gateways; we create payout invoices of its commerce API.

https://docs.paycore.io/getting-started/webhooks/ and https://corefy.com/docs/integration/callbacks/

Its signature is a plain hash without a time, its callbacks have no event id, and `processed` is not the end: it can
still be called back. Amounts are JSON numbers in major units, so bodies are read with `Decimal`. PHP writes them, so
escaped slashes and `[]` for an empty object are normal. The only answer PayCore takes for success is exactly 200.
"""

from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

import msgspec
import orjson

from connectors._base import (
    Accepted,
    Address,
    Connector,
    Http,
    HttpReply,
    NotFound,
    Order,
    PayoutUpdate,
    Rejected,
    Submission,
    Unaddressable,
    UnreadableEvent,
    Verified,
    WebhookRequest,
    Wish,
    masked,
)
from connectors._calls import credential, fetch_one, is_accepted, move, moved, refusal, rejected
from connectors._json import Fields, digest_key, event_key, exact_document, status_of
from connectors._lists import Lookback, Page, ask_list, changed, find, walk
from connectors._signatures import live_keys, prove_sandwich, values
from models.lifecycle import PayoutStatus
from models.money import to_text

STATUSES: Final = {
    "created": PayoutStatus.PENDING,
    "ready": PayoutStatus.PENDING,
    "dispatching": PayoutStatus.INITIATED,
    "waiting_details": PayoutStatus.INITIATED,
    "processing": PayoutStatus.INITIATED,
    "process_error": PayoutStatus.INITIATED,
    "canceling": PayoutStatus.INITIATED,
    "cancel_pending": PayoutStatus.INITIATED,
    "cancel_error": PayoutStatus.INITIATED,
    "pending": PayoutStatus.BROADCAST,
    "process_pending": PayoutStatus.BROADCAST,
    "processed": PayoutStatus.DELIVERED,
    "partially_processed": PayoutStatus.DELIVERED,
    "cancel_failed": PayoutStatus.DELIVERED,
    "partially_canceled": PayoutStatus.DELIVERED,
    "canceled": PayoutStatus.CANCELED,
    "process_failed": PayoutStatus.FAILED,
    "failed": PayoutStatus.FAILED,
    "expired": PayoutStatus.FAILED,
    "terminated": PayoutStatus.FAILED,
}
"""Words of invoices and of requests; requests say theirs in capitals or not.

A canceled invoice whose `processed` time is set was paid out first: what that means is a setting. Of a partially
canceled one a part stayed paid, and only `processed_amount` can tell which: it has arrived, and the rest has not.
ASSUMED: PayCore says that the word is final, no more. Where that amount is no part of the whole, a person has to ask.
"""

FELL_THROUGH: Final = frozenset({PayoutStatus.CANCELED, PayoutStatus.FAILED, PayoutStatus.RETURNED})
"""Where a resolution tells why. Elsewhere it is a trouble, as of `process_error`, that PayCore may still get over."""

KINDS: Final = {
    "payout-invoices": ("amount", "currency"),
    "payout-invoice": ("amount", "currency"),
    "payout-requests": ("point_amount", "point_currency"),
    "payout-request": ("point_amount", "point_currency"),
}
"""JSON:API types that are one whole payout, each with its fields of amount and currency."""

SENT_DETAILS: Final = ("service", "fields", "customer", "callback_url", "expires", "attempts", "split", "partial")
"""Fields of `order.details` that go into the invoice as they are."""


ACCOUNT_FIELDS: Final = ("account", "card_number", "iban", "phone")
"""Where the services that we know of have the account that is paid, to show its last digits."""


class _Attributes(msgspec.Struct):
    status: str | int
    updated: str | int


class _Resource(msgspec.Struct):
    type: str | int
    id: str | int
    attributes: _Attributes


class _Callback(msgspec.Struct):
    data: _Resource


_NAMED: Final = msgspec.json.Decoder(_Callback)
"""Reads what names an event and nothing else, in half the time of the whole: the door does this for every webhook."""


class PayCore(Connector):
    """One commerce account."""

    name = "paycore"
    DOCUMENTATION = "https://docs.paycore.io/getting-started/webhooks/"
    BASE_URL = "https://com.paycore.io/api"
    CREDENTIALS = ("account_id", "api_key")
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "test_mode": False,
            "canceled_after_processed_is_returned": True,  # ASSUMED: it was paid out first and then called back
            "page_parameter": "page[number]",  # ASSUMED, as the next two
            "size_parameter": "page[size]",
            "reference_filter": "filter[reference_id]",
            "page_size": 50,
            "lookback_days": 30,  # ASSUMED newest first; None walks the whole list
        }
    )
    STATUSES = STATUSES
    VISIBILITY_WINDOW = timedelta(hours=1)
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(hours=2),
            PayoutStatus.SCHEDULED: timedelta(days=1),
            PayoutStatus.INITIATED: timedelta(hours=6),  # process_error waits for a person at PayCore
            PayoutStatus.BROADCAST: timedelta(days=1),
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`X-Signature`: base64 of SHA-1 over secret, raw body, secret. Test and live have secrets of their own."""
        del now
        keys = live_keys(secrets)
        prove_sandwich(values(request, b"x-signature"), keys, request.body)
        return Verified()

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return type, id, status and `updated`: PayCore has no event id and declares duplicates normal."""
        try:
            named = _NAMED.decode(request.body).data
        except (ValueError, RecursionError):
            return digest_key(request.body)  # no callback of theirs, or not in the agreed form
        return event_key(request, named.type, named.id, named.attributes.status, named.attributes.updated)

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read a payout invoice or a payout request; single attempts (`payouts`) are not the payout."""
        resource = Fields.of(exact_document(body)).within("data")
        return [self._update(resource)] if resource.text("type") in KINDS else []

    # --- calls

    def address(self, wish: Wish) -> Address:
        """The service is the mode, or `details.service`; what it asks for stands in `details.fields`."""
        service, fields = wish.details.get("service", wish.mode), wish.details.get("fields")
        if not isinstance(service, str) or not isinstance(fields, dict) or not fields:
            raise Unaddressable("details.fields", f"PayCore's service {wish.mode} asks for fields (an object)")
        customer = {"email": wish.email, "name": f"{wish.first_name} {wish.last_name}"}
        customer |= {"phone": wish.phone} if wish.phone else {}
        account = next((fields[name] for name in ACCOUNT_FIELDS if isinstance(fields.get(name), str)), None)
        details = {"service": service, "fields": fields, "customer": customer}
        return Address(details, masked(account) if account else None)

    async def submit(self, order: Order, http: Http) -> Submission:
        """POST /payout-invoices with `service` and its `fields` from `order.details`."""
        if not order.details.get("service"):
            return Rejected(code="missing_detail", message="details.service is missing")
        invoice = {name: order.details[name] for name in SENT_DETAILS if name in order.details}
        invoice |= {
            "reference_id": order.order_key,
            "amount": orjson.Fragment(to_text(order.amount_minor, order.currency)),
            "currency": order.currency,
            "description": order.description,
            "test_mode": bool(self.option("test_mode")),
        }
        headers = {**self._headers(), "Content-Type": "application/json"}
        url = f"{self.base_url}/payout-invoices"
        reply = await move(http, "POST", url, headers=headers, body=orjson.dumps(invoice))
        return Accepted(update=moved(reply, self._read)) if is_accepted(reply) else _rejected(reply)

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /payout-invoices/{id}, or the list filtered by our key, which is compared again."""
        if reference is None:
            found = self._walk(http, {self.option("reference_filter"): order_key})
            return await find(found, lambda one: _order_key(one.within("attributes")) == order_key, self._update)
        url = f"{self.base_url}/payout-invoices/{quote(reference, safe='')}"
        return await fetch_one(http, url, self._headers(), self._read)

    def list_since(self, since: datetime, http: Http) -> AsyncIterator[PayoutUpdate]:
        """GET /payout-invoices, page by page."""
        return changed(self._walk(http), Lookback(since, self.option("lookback_days"), _created), self._update)

    def _walk(self, http: Http, query: Mapping[str, str] = MappingProxyType({})) -> AsyncGenerator[Fields]:
        async def page(number: str) -> Page:
            paging = {self.option("page_parameter"): number, self.option("size_parameter"): self.option("page_size")}
            url = f"{self.base_url}/payout-invoices?{urlencode({**query, **paging})}"
            items = Fields.of(exact_document((await ask_list(http, url, self._headers())).body)).items("data")
            return Page(items, str(int(number) + 1) if items else None)

        return walk(page, "1")

    def _update(self, resource: Fields) -> PayoutUpdate:
        """Read one resource, with what this account's settings make of a canceled one."""
        is_return = self.option("canceled_after_processed_is_returned")
        return _update(resource, PayoutStatus.RETURNED if is_return else PayoutStatus.CANCELED)

    def _read(self, body: bytes) -> PayoutUpdate:
        return self._update(Fields.of(exact_document(body)).within("data"))

    def _headers(self) -> dict[str, str]:
        login = f"{credential(self.account, 'account_id')}:{credential(self.account, 'api_key')}"
        return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


def _update(resource: Fields, called_back: PayoutStatus) -> PayoutUpdate:
    """Return what a JSON:API resource says about one payout; `called_back` is what canceled after processed means."""
    amount_field, currency_field = KINDS.get(resource.text("type"), ("amount", "currency"))
    attributes = resource.within("attributes")
    said = attributes.text("status").lower()
    status = status_of(said, STATUSES)
    if status is PayoutStatus.CANCELED and attributes.values.get("processed"):
        status = called_back
    currency = attributes.maybe_text(currency_field)
    amount = attributes.amount(amount_field, currency)
    resolution = attributes.maybe_text("resolution")
    has_arrived = status in {PayoutStatus.DELIVERED, PayoutStatus.RETURNED}
    arrived = attributes.amount("processed_amount", currency) if has_arrived else None
    if said == "partially_canceled" and not 0 < (arrived or 0) < (amount or 0):
        raise UnreadableEvent(f"{attributes.at('processed_amount')} is no part of the amount")
    return PayoutUpdate(
        reference=resource.text("id"),
        order_key=_order_key(attributes),
        status=status,
        said=said,
        occurred_at=attributes.moment("updated"),
        amount_minor=amount,
        currency=currency,
        processed_amount_minor=arrived,
        costs=attributes.costs(currency, fees="fee", amount_debited="writeoff"),  # ASSUMED: in the payout's currency
        failure_code=resolution if status in FELL_THROUGH and resolution and resolution.lower() != "ok" else None,
    )


def _created(resource: Fields) -> datetime | None:
    return resource.within("attributes").moment("created")


def _order_key(attributes: Fields) -> str | None:
    return attributes.identifier("reference_id")


def _rejected(reply: HttpReply) -> Rejected:
    """Return a refusal: the first JSON:API error, or a plain message."""
    words = refusal(reply)
    errors = words.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    code = first.get("code") or first.get("title")
    return rejected(reply, code, first.get("detail") or first.get("title") or words.get("message"))
