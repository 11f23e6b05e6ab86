"""BridgerPay: an aggregator of payment companies; it pays out through whichever the order names.

https://developers.bridgerpay.com/docs/payouts and https://developers.bridgerpay.com/docs/notifications

It signs nothing, so its notifications are only hints: whatever one says, the status is asked for. The signature we
verify is a convention of ours, for a proxy in front of the door that knows the secret; without it anybody could make us
ask all day. Every answer is wrapped, and the code inside decides: HTTP 200 around a refusal is normal. The API key
stands in the path, so a URL is a secret. It does not recognise an order sent twice, so a lost answer is never sent
again, and absence counts only when the list was read to its end.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

import orjson

from connectors._base import (
    Accepted,
    Address,
    Connector,
    GatewayUnavailable,
    Http,
    InvalidSignature,
    NotFound,
    Order,
    PayoutUpdate,
    Reason,
    Rejected,
    Submission,
    Unaddressable,
    UnreadableEvent,
    Verified,
    WebhookRequest,
    Wish,
    masked,
)
from connectors._bridgerpay import Reads, Unwrapped, rejection, result_of
from connectors._calls import credential, is_accepted, move, moved, prepare, unreadable_means
from connectors._json import Fields, digest_key, document, event_key, status_of
from connectors._lists import Lookback, Page, ask_list, changed, walk
from connectors._signatures import ALGORITHMS, BASE64, HEX, live_keys, only_value, prove_hmac
from connectors._tokens import account_key
from models.lifecycle import PayoutStatus
from models.money import to_text

STATUSES: Final = {
    "init": PayoutStatus.PENDING,
    "in_process": PayoutStatus.INITIATED,
    "pending": PayoutStatus.INITIATED,
    "authorized": PayoutStatus.INITIATED,
    "approved_on_hold": PayoutStatus.INITIATED,
    "approved": PayoutStatus.DELIVERED,
    "voided": PayoutStatus.CANCELED,
    "declined": PayoutStatus.FAILED,
    "refunded": PayoutStatus.RETURNED,
}
"""Words of the API, where they come capitalised or in camel case: `Approved`, `InProcess`."""

ENCODINGS: Final = {"hex": HEX, "base64": BASE64}

NEEDED_DETAILS: Final = ("provider", "country", "payout_method_type", "metadata")
"""Fields of `order.details` without which there is no payout. BridgerPay's metadata call tells what to put in them."""

SENT_DETAILS: Final = (*NEEDED_DETAILS, "state")

MAX_TOKEN: Final = 8_192


METHODS: Final = {"bank_transfer": "bank_account", "card": "credit_card"}
"""Our words for how a payout travels, in BridgerPay's; others are taken as they are."""

ACCOUNT_FIELDS: Final = ("bankAccountNumber", "iban", "accountNumber", "cardNumber")
"""Where providers that we know of have the account that is paid, to show its last digits."""


class BridgerPay(Connector):
    """One BridgerPay merchant account."""

    name = "bridgerpay"
    DOCUMENTATION = "https://developers.bridgerpay.com/docs/notifications"
    BASE_URL = "https://api.bridgerpay.com"
    CREDENTIALS = ("api_key", "user_name", "password")
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "api_version": "v2",  # older accounts: v1
            "signature_header": "X-Bridgerpay-Signature",  # this and the next two are agreed with whoever signs
            "signature_encoding": "hex",
            "signature_algorithm": "sha256",
            "provider": "",  # of direct payouts that name none
            "page_size": 24,  # BridgerPay's own default
            "lookback_days": 30,  # None walks the whole list
        }
    )
    STATUSES = STATUSES
    REPEATS_ARE_NEWS = True
    VISIBILITY_WINDOW = timedelta(hours=2)  # ASSUMED: nobody says when a record shows, and too early pays twice
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(hours=2),
            PayoutStatus.SCHEDULED: timedelta(days=1),
            PayoutStatus.INITIATED: timedelta(days=1),
            PayoutStatus.BROADCAST: timedelta(days=2),
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """Our convention: HMAC of the raw body in one header, `X-Bridgerpay-Signature: <hex>` by default; no time."""
        del now
        keys = live_keys(secrets)
        algorithm, written = self.option("signature_algorithm"), ENCODINGS.get(self.option("signature_encoding"))
        if algorithm not in ALGORITHMS or written is None:
            raise InvalidSignature(Reason.FORBIDDEN_ALGORITHM)
        text = only_value(request, self.option("signature_header").lower().encode())
        prove_hmac([text], written, keys, request.body, algorithm)
        return Verified()

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return order, operation, type and charge: there is no event id, and duplicates are declared normal."""
        try:
            event = Fields.of(document(request.body))
            order = event.within("data")
            charge = order.within("charge").values
            kind = event.within("webhook").values.get("type")
        except UnreadableEvent:
            return digest_key(request.body)
        return event_key(request, order.values.get("order_id"), charge.get("operation_type"), kind, charge.get("id"))

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Return a hint for any news about a payout. Deposits have the same types; only the operation differs."""
        event = Fields.of(document(body))
        said = event.within("webhook").text("type")
        if said.startswith("cashier."):
            return []
        order = event.within("data")
        charge = order.within("charge")
        if charge.text("operation_type").lower() != "payout":
            return []
        # No reference: nothing says that `charge.id` is the id that the API calls the payout by.
        return [
            PayoutUpdate(
                reference=None, order_key=order.text("order_id"), status=None, said=said, occurred_at=_at(event)
            )
        ]

    # --- calls

    def address(self, wish: Wish) -> Address:
        """Provider and what it asks for (`metadata`) stand in `details`; BridgerPay's metadata call tells both."""
        metadata = wish.details.get("metadata")
        if not isinstance(metadata, dict) or not metadata:
            raise Unaddressable("details.metadata", "what BridgerPay's provider asks for (an object)")
        details = {
            "provider": wish.details.get("provider") or self.option("provider"),
            "country": wish.details.get("country") or wish.country,
            "payout_method_type": METHODS.get(wish.mode, wish.mode),
            "state": wish.details.get("state"),
        }
        for name in NEEDED_DETAILS[:2]:
            if not isinstance(details[name], str) or not details[name]:
                raise Unaddressable(f"details.{name}", "BridgerPay has to be told")
        details = {name: text for name, text in details.items() if isinstance(text, str)}
        account = next((metadata[name] for name in ACCOUNT_FIELDS if isinstance(metadata.get(name), str)), None)
        return Address({**details, "metadata": metadata}, masked(account) if account else None)

    async def submit(self, order: Order, http: Http) -> Submission:
        """POST /payouts, once, behind a login of its own: this one call must not meet a token that has run out."""
        for name in NEEDED_DETAILS:
            if not order.details.get(name):
                return Rejected(code="missing_detail", message=f"details.{name} is missing")
        url = self._url()
        payout = {name: order.details[name] for name in SENT_DETAILS if name in order.details}
        payout |= {
            "order_id": order.order_key,
            "amount": orjson.Fragment(to_text(order.amount_minor, order.currency)),
            "currency": order.currency,
        }
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {await self._login(http)}"}
        reply = await move(Unwrapped(http), "POST", url, headers=headers, body=orjson.dumps(payout))
        if not is_accepted(reply):
            return rejection(reply)
        return Accepted(update=replace(moved(reply, _read), order_key=order.order_key))

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /payouts filtered by our key, which is compared again: there is no call for one payout by its id."""
        found = []
        async with aclosing(self._walk(http, merchantOrderId=order_key)) as records:
            async for record in records:
                with unreadable_means(GatewayUnavailable):
                    if record.identifier("merchant_order_id") == order_key:
                        found.append(_update(record))
        return _the_one(found, reference)

    def list_since(self, since: datetime, http: Http) -> AsyncIterator[PayoutUpdate]:
        """GET /payouts, page by page, newest first."""
        found = self._walk(http, sortField="processing_date", sortDir="desc")
        return changed(found, Lookback(since, self.option("lookback_days"), _created), _update)

    def _walk(self, http: Http, **query: str) -> AsyncGenerator[Fields]:
        reads = Reads(http, account_key(*self._login_parts(), self.base_url), lambda: self._login(http))

        async def page(number: str) -> Page:
            paging = {**query, "page": number, "limit": self.option("page_size")}
            answer = await ask_list(reads, f"{self._url()}?{urlencode(paging)}", {})
            items = result_of(answer.body).items("records")
            # Only an empty page is the end: a short one may be a smaller limit than we asked for.
            return Page(items, str(int(number) + 1) if items else None)

        return walk(page, "1")

    async def _login(self, http: Http) -> str:
        """POST /auth/login. A refused login says nothing about a payout, so that is `GatewayUnavailable` too."""
        user_name, password, version = self._login_parts()
        body = orjson.dumps({"user_name": user_name, "password": password})
        url = f"{self.base_url}/{version}/auth/login"
        reply = await prepare(Unwrapped(http), url, headers={"Content-Type": "application/json"}, body=body)
        if not is_accepted(reply):
            raise GatewayUnavailable(f"login answered {reply.status}")
        with unreadable_means(GatewayUnavailable):
            token = result_of(reply.body).within("access_token").prose("token", keep=MAX_TOKEN)
        if token is None:
            raise GatewayUnavailable("login gave no token")
        return token

    def _login_parts(self) -> tuple[str, str, str]:
        version = quote(self.option("api_version"), safe="")
        return credential(self.account, "user_name"), credential(self.account, "password"), version

    def _url(self) -> str:
        version, key = self.option("api_version"), credential(self.account, "api_key")
        return f"{self.base_url}/{quote(version, safe='')}/{quote(key, safe='')}/payouts"


def _the_one(found: Sequence[PayoutUpdate], reference: str | None) -> PayoutUpdate | NotFound:
    """Return the payout among all records of our key.

    A declined attempt beside another record is not the end of the payout, and saying so would pay it again. Two that
    are not declined are for a person.
    """
    alive = [update for update in found if update.status is not PayoutStatus.FAILED]
    if len(alive) > 1:
        raise GatewayUnavailable(f"{len(alive)} payouts stand under our key")
    ours = [update for update in found if update.reference == reference]
    return next(iter((*alive, *ours, *found)), NotFound())


def _update(payout: Fields) -> PayoutUpdate:
    """Return what an answer or a record says. It has no time: `processing_date` does not move with the status."""
    said = re.sub(r"(?<=[a-z])(?=[A-Z])|[ -]", "_", payout.text("status")).lower()
    status = status_of(said, STATUSES)
    currency = payout.maybe_text("currency")
    declined = status is PayoutStatus.FAILED
    return PayoutUpdate(
        reference=payout.reference("id"),
        order_key=payout.identifier("merchant_order_id"),
        status=status,
        said=said,
        amount_minor=payout.amount("amount", currency),
        currency=currency,
        failure_code=(payout.identifier("decline_code") or payout.identifier("failure_code")) if declined else None,
        failure_message=payout.prose("decline_reason") if declined else None,
    )


def _read(body: bytes) -> PayoutUpdate:
    return _update(result_of(body))


def _at(event: Fields) -> datetime | None:
    """Return when the charge changed, or else when the news was sent: `updated_at` may be 0."""
    attributes = event.within("data").within("charge").maybe_within("attributes") or Fields({})
    meta = event.maybe_within("meta") or Fields({})
    return attributes.moment("updated_at") if attributes.values.get("updated_at") else meta.moment("server_time")


def _created(record: Fields) -> datetime | None:
    return record.moment("processing_date")
