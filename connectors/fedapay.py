"""FedaPay: mobile money and bank payouts in West Africa.

https://docs.fedapay.com/en/integration-api/webhooks; signature and shapes as in https://github.com/fedapay/fedapay-php

Two steps move a payout: create moves nothing, start does. The events about payouts are not listed anywhere: any
`payout.*` is read, and the truth is the status of the entity in it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

import orjson

from connectors._base import (
    COSTS,
    Accepted,
    Address,
    Connector,
    GatewayUnavailable,
    Http,
    HttpReply,
    NotFound,
    Order,
    OutcomeUnknown,
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
from connectors._calls import (
    REFUSALS,
    credential,
    fetch_one,
    is_accepted,
    move,
    moved,
    unreadable_means,
)
from connectors._fedapay import page_of, payout_of, rejection, the_one
from connectors._json import Fields, digest_key, document, event_key, status_of
from connectors._lists import Lookback, Page, ask_list, changed, find, walk
from connectors._signatures import HEX, fresh, live_keys, only_value, prove_hmac, tagged, unix_seconds
from models.lifecycle import IN_FLIGHT, PayoutStatus
from models.money import to_text

STATUSES: Final = {
    "pending": PayoutStatus.PENDING,
    "scheduled": PayoutStatus.SCHEDULED,
    "started": PayoutStatus.INITIATED,
    "processing": PayoutStatus.INITIATED,
    "sent": PayoutStatus.DELIVERED,
    "failed": PayoutStatus.FAILED,
}
"""A payout that has `deleted_at` while it was still in flight is CANCELED, whatever its word."""

EVENTS: Final = "payout."

SENT_DETAILS: Final = ("customer", "mode", "scheduled_at", "custom_metadata")
"""Fields of `order.details` that go into the payout as they are."""


class FedaPay(Connector):
    """One FedaPay account."""

    name = "fedapay"
    DOCUMENTATION = "https://docs.fedapay.com/en/integration-api/webhooks"
    BASE_URL = "https://api.fedapay.com/v1"
    CREDENTIALS = ("secret_key",)
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "tolerance_seconds": 300,  # both ways, as FedaPay's PHP library has it; None enforces nothing
            "currency": "XOF",  # entities carry a currency_id only
            "connected_account": "",  # on whose behalf, on a platform: the header FedaPay-Account
            "page_parameter": "page",  # ASSUMED
            "per_page_parameter": "per_page",  # ASSUMED
            "per_page": 25,
            "lookback_days": 30,  # ASSUMED newest first; None walks the whole list
        }
    )
    STATUSES = STATUSES
    SUPPORTS_CANCEL = True
    VISIBILITY_WINDOW = timedelta(minutes=30)
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(hours=1),  # created and not started: nobody else will start it
            PayoutStatus.SCHEDULED: timedelta(days=4),
            PayoutStatus.INITIATED: timedelta(hours=2),  # mobile money takes minutes
            PayoutStatus.BROADCAST: timedelta(hours=2),
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`X-FEDAPAY-SIGNATURE: t=<unix seconds>,s=<hex>[,s=…]`; HMAC-SHA256 over `<t>.<raw body>`.

        Exactly one `t`: FedaPay's own libraries disagree on which of two would count.
        """
        keys = live_keys(secrets)
        said = tagged(only_value(request, b"x-fedapay-signature"))
        time = b",".join(said.get(b"t", ()))
        signed_at = unix_seconds(time)
        prove_hmac(said.get(b"s", ()), HEX, keys, time + b"." + request.body)
        return Verified(fresh(signed_at, now, self.option("tolerance_seconds")))

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return id and name: one change raises several events, and every try is signed anew."""
        try:
            event = Fields.of(document(request.body)).values
        except UnreadableEvent:
            return digest_key(request.body)
        return event_key(request, event.get("id"), event.get("name") or event.get("type"))

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read any `payout.*` event. Its entity may be an object, or text that holds one."""
        event = Fields.of(document(body))
        name = event.maybe_text("name") or event.text("type")
        if not name.startswith(EVENTS):
            return []
        entity = event.values.get("entity")
        if not entity:
            return [PayoutUpdate(reference=event.reference("object_id"), status=None, said=name)]
        written = document(entity) if isinstance(entity, str) else entity
        return [self._update(payout_of(written, "entity"), event.moment("created_at"))]

    def _update(self, payout: Fields, event_at: datetime | None = None) -> PayoutUpdate:
        """Return what a payout object says.

        `amount_transferred` is not read: it is less than the amount by FedaPay's commission, not by a partial payout.
        """
        said = payout.text("status")
        status = status_of(said, STATUSES)
        if status in IN_FLIGHT and payout.moment("deleted_at"):
            status = PayoutStatus.CANCELED
        currency = self._currency(payout)
        failed = status is PayoutStatus.FAILED
        return PayoutUpdate(
            reference=payout.reference("id"),
            order_key=payout.maybe_text("merchant_reference"),
            status=status,
            said=said,
            occurred_at=payout.moment("updated_at") or event_at,
            amount_minor=payout.amount("amount", currency),
            currency=currency,
            costs=payout.costs(currency, **{cost: cost for cost in COSTS}),
            failure_code=payout.identifier("last_error_code") if failed else None,
            failure_message=payout.prose("last_error_message") if failed else None,
            awaits_start=status is PayoutStatus.PENDING,
        )

    def _currency(self, payout: Fields) -> str:
        included = payout.maybe_within("currency")
        return included.text("iso") if included else str(self.option("currency"))

    # --- calls

    def address(self, wish: Wish) -> Address:
        """Mobile money goes to the telephone. Its operator is the mode: `mtn`, `moov`, `mtn_open`."""
        if wish.phone is None or wish.phone_national is None:
            raise Unaddressable("customer.phone", "FedaPay pays to a telephone")
        customer = {
            "firstname": wish.first_name,
            "lastname": wish.last_name,
            "email": wish.email,
            "phone_number": {"number": wish.phone_national, "country": wish.country},
        }
        return Address({"mode": wish.mode, "customer": customer}, masked(wish.phone))

    async def submit(self, order: Order, http: Http) -> Submission:
        """POST /payouts, which moves nothing, then PUT /payouts/start. One that is there already is only started."""
        if order.reference is not None:
            return await self._start(order.reference, order, http)
        amount = Decimal(to_text(order.amount_minor, order.currency))
        if amount != int(amount):
            return Rejected(code="amount_not_whole", message=f"FedaPay pays whole {order.currency} only")
        fields = {name: order.details[name] for name in SENT_DETAILS if name in order.details}
        fields |= {
            "amount": int(amount),
            "currency": {"iso": order.currency},
            "description": order.description,
            "merchant_reference": order.order_key,
        }
        reply = await self._move(http, "POST", "/payouts", fields)
        if not is_accepted(reply):
            return rejection(reply)
        with unreadable_means(OutcomeUnknown):
            reference = payout_of(document(reply.body)).reference("id")
        return await self._start(reference, order, http)

    async def _start(self, reference: str, order: Order, http: Http) -> Submission:
        """PUT /payouts/start. Gone wrong, it is an unknown outcome that names the reference."""
        item: dict[str, Any] = {"id": int(reference) if reference.isdecimal() else reference}
        item |= {name: order.details[name] for name in ("scheduled_at", "phone_number") if name in order.details}
        try:
            reply = await self._move(http, "PUT", "/payouts/start", {"payouts": [item]})
            if is_accepted(reply):
                return Accepted(update=moved(reply, lambda body: self._update(the_one(body, reference))))
        except (OutcomeUnknown, GatewayUnavailable) as error:
            # Even a start that never left: the payout exists, and a second submission would create another.
            raise OutcomeUnknown(f"created, start: {error}", reference=reference) from error
        no = rejection(reply)
        if order.reference is not None:  # an earlier start, of which we never heard, may be why it refuses
            raise OutcomeUnknown(f"start refused: {no.code}", reference=reference)
        return no

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /payouts/{id}, or GET /payouts/search for our key, which must match whole."""
        if reference is None:
            found = self._walk(http, "/payouts/search", search=order_key)
            return await find(found, lambda payout: payout.maybe_text("merchant_reference") == order_key, self._update)
        return await fetch_one(
            http, f"{self.base_url}/payouts/{quote(reference, safe='')}", self._headers(), self._read
        )

    def list_since(self, since: datetime, http: Http) -> AsyncIterator[PayoutUpdate]:
        """GET /payouts, page by page."""
        lookback = Lookback(since, self.option("lookback_days"), lambda payout: payout.moment("created_at"))
        return changed(self._walk(http, "/payouts"), lookback, self._update)

    async def cancel(self, reference: str, http: Http) -> PayoutUpdate | Rejected:
        """DELETE /payouts/{id}, which works until it is started."""
        url = f"{self.base_url}/payouts/{quote(reference, safe='')}"
        reply = await move(http, "DELETE", url, headers=self._headers(), refusals=REFUSALS | {HTTPStatus.CONFLICT})
        if not is_accepted(reply):
            return rejection(reply)
        return PayoutUpdate(reference=reference, status=PayoutStatus.CANCELED, said="deleted")

    def _walk(self, http: Http, path: str, **query: str) -> AsyncGenerator[Fields]:
        async def page(number: str) -> Page:
            paging = {self.option("page_parameter"): number, self.option("per_page_parameter"): self.option("per_page")}
            url = f"{self.base_url}{path}?{urlencode(query | paging)}"
            answer = document((await ask_list(http, url, self._headers())).body)
            return page_of(answer, number, self.option("per_page"))

        return walk(page, "1")

    def _read(self, body: bytes) -> PayoutUpdate:
        return self._update(payout_of(document(body)))

    async def _move(self, http: Http, method: str, path: str, fields: Mapping[str, Any]) -> HttpReply:
        headers = {**self._headers(), "Content-Type": "application/json"}
        return await move(http, method, f"{self.base_url}{path}", headers=headers, body=orjson.dumps(fields))

    def _headers(self) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {credential(self.account, 'secret_key')}"}
        account = self.option("connected_account")
        return headers | {"FedaPay-Account": account} if account else headers
