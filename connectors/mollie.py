"""Mollie: bank payouts from a balance, on the next business day.

https://docs.mollie.com/reference/payouts-api-webhooks and https://docs.mollie.com/reference/webhooks-new

Mollie echoes nothing of ours but the description, so the order key travels there as the last bracketed token
(`May run [pay_01JX]`) and is read back from it. Its next-gen webhooks sign no time: one body can be replayed for ever,
and the event id is what makes a repetition harmless.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

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
)
from connectors._calls import REFUSALS, credential, fetch_one, is_accepted, move, moved, refusal, rejected
from connectors._json import MAX_TEXT, Fields, digest_key, document, event_key, status_of
from connectors._lists import Lookback, Page, ask_list, changed, find, walk
from connectors._signatures import HEX, live_keys, prove_hmac, values
from models.lifecycle import PayoutStatus
from models.money import to_text

STATUSES: Final = {
    "requested": PayoutStatus.PENDING,
    "initiated": PayoutStatus.INITIATED,
    "processing-at-bank": PayoutStatus.BROADCAST,
    "completed": PayoutStatus.DELIVERED,
    "failed": PayoutStatus.FAILED,
    "canceled": PayoutStatus.CANCELED,
}
"""`failed` with the reason `returned` is RETURNED: the bank took the money and sent it back."""

EVENTS: Final = "payout."
"""What event types about payouts begin with; the rest of one is a word of `STATUSES`."""

_ORDER_KEY: Final = re.compile(r"[!-Z^-~]{1,200}")
_LAST_TOKEN: Final = re.compile(r"\[([^\[\]]+)\]\s*\Z")


class Mollie(Connector):
    """One Mollie organisation or profile."""

    name = "mollie"
    DOCUMENTATION = "https://docs.mollie.com/reference/payouts-api-webhooks"
    BASE_URL = "https://api.mollie.com"
    CREDENTIALS = ("api_key",)
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "testmode": False,  # true only with an organisation-level token; a test_ key must never send it
            "balance_id": "",  # which balance pays direct payouts
            "lookback_days": 14,  # a payout created earlier is not expected to change any more
        }
    )
    STATUSES = STATUSES
    SUPPORTS_CANCEL = True
    VISIBILITY_WINDOW = timedelta(hours=1)
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(days=5),  # it waits for the next business day, over a long weekend too
            PayoutStatus.SCHEDULED: timedelta(days=5),
            PayoutStatus.INITIATED: timedelta(days=1),
            PayoutStatus.BROADCAST: timedelta(days=3),
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`X-Mollie-Signature: sha256=<hex>`, or the bare hex; HMAC-SHA256 over the raw body; no time."""
        del now
        keys = live_keys(secrets)
        texts = [value.removeprefix(b"sha256=") for value in values(request, b"x-mollie-signature")]
        prove_hmac(texts, HEX, keys, request.body)
        return Verified()

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return the event's id."""
        try:
            event = Fields.of(document(request.body)).values
        except UnreadableEvent:
            return digest_key(request.body)
        return event_key(request, event.get("id") if event.get("resource") == "event" else None)

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read an event with its entity (full payload) or without (simple payload). No link in it is ever followed."""
        event = Fields.of(document(body))
        if event.values.get("resource") == "payout":  # as the page's examples print it, without the event around it
            return [_update(event)]
        kind = event.text("type")
        if not kind.startswith(EVENTS):
            return []
        embedded = event.maybe_within("_embedded")
        entity = embedded.maybe_within("entity") if embedded else None
        occurred_at = event.moment("createdAt")
        if entity is not None:
            return [_update(entity, occurred_at)]
        said = kind.removeprefix(EVENTS)
        return [
            PayoutUpdate(
                reference=event.text("entityId"), status=status_of(said, STATUSES), said=said, occurred_at=occurred_at
            )
        ]

    # --- calls

    def address(self, wish: Wish) -> Address:
        """Mollie pays to the bank account of the balance, and which balance pays is the operator's to say."""
        del wish
        balance = self.option("balance_id")
        if not balance:
            raise Unaddressable("gateway", "this Mollie account names no balance (option balance_id)")
        return Address({"balanceId": balance})

    async def submit(self, order: Order, http: Http) -> Submission:
        """POST /v2/payouts. The balance to pay from stands in `order.details["balanceId"]`."""
        balance = order.details.get("balanceId")
        if not isinstance(balance, str) or not balance:
            return Rejected(code="missing_detail", message="details.balanceId is missing")
        if not _ORDER_KEY.fullmatch(order.order_key):
            return Rejected(code="order_key_unsupported", message="the order key does not fit into a description")
        body: dict[str, Any] = {
            "balanceId": balance,
            "amount": {"currency": order.currency, "value": to_text(order.amount_minor, order.currency)},
            "description": describe(order),
        }
        if self.option("testmode"):
            body["testmode"] = True
        headers = {**self._headers(), "Content-Type": "application/json", "Idempotency-Key": order.order_key}
        reply = await move(http, "POST", f"{self.base_url}/v2/payouts", headers=headers, body=orjson.dumps(body))
        return Accepted(update=moved(reply, _read)) if is_accepted(reply) else _rejected(reply)

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /v2/payouts/{id}; without an id, walk the list for the payout whose description ends in our key."""
        if reference is None:
            return await find(self._walk(http), lambda payout: _order_key(payout) == order_key, _update)
        return await fetch_one(http, self._url(f"/{quote(reference, safe='')}"), self._headers(), _read)

    def list_since(self, since: datetime, http: Http) -> AsyncIterator[PayoutUpdate]:
        """GET /v2/payouts, newest first. Payouts made in Mollie's dashboard are among them."""
        return changed(self._walk(http), Lookback(since, self.option("lookback_days"), _created), _update)

    async def cancel(self, reference: str, http: Http) -> PayoutUpdate | Rejected:
        """DELETE /v2/payouts/{id}; 409 once Mollie has begun."""
        url = self._url(f"/{quote(reference, safe='')}")
        reply = await move(http, "DELETE", url, headers=self._headers(), refusals=REFUSALS | {HTTPStatus.CONFLICT})
        return moved(reply, _read) if is_accepted(reply) else _rejected(reply)

    def _walk(self, http: Http) -> AsyncGenerator[Fields]:
        async def page(cursor: str) -> Page:
            query = {"limit": "250"} | ({"from": cursor} if cursor else {})
            fields = Fields.of(document((await ask_list(http, self._url("", **query), self._headers())).body))
            return Page(fields.within("_embedded").items("payouts"), _next(fields))

        return walk(page, "")

    def _url(self, path: str, **query: str) -> str:
        if self.option("testmode"):
            query["testmode"] = "true"
        return f"{self.base_url}/v2/payouts{path}" + (f"?{urlencode(query)}" if query else "")

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {credential(self.account, 'api_key')}"}


def describe(order: Order) -> str:
    """Return the order's description, cut so that ` [order key]` fits behind it in Mollie's 255 characters."""
    token = f"[{order.order_key}]"
    return f"{order.description[: MAX_TEXT - len(token) - 1].strip()} {token}".strip()


def _order_key(payout: Fields) -> str | None:
    found = _LAST_TOKEN.search(payout.maybe_text("description") or "")
    return found.group(1) if found else None


def _update(payout: Fields, occurred_at: datetime | None = None) -> PayoutUpdate:
    """Return what a payout object says; its own latest time where no event gives one."""
    said = payout.text("status")
    reason = payout.maybe_within("statusReason") or Fields({})
    code = reason.maybe_text("code")
    status = status_of(said, STATUSES)
    if status is PayoutStatus.FAILED and code == "returned":
        status = PayoutStatus.RETURNED
    amount = payout.maybe_within("amount") or Fields({})
    currency = amount.maybe_text("currency")
    fell_through = status in {PayoutStatus.FAILED, PayoutStatus.CANCELED, PayoutStatus.RETURNED}
    return PayoutUpdate(
        reference=payout.text("id"),
        order_key=_order_key(payout),
        status=status,
        said=said,
        occurred_at=occurred_at or _latest(payout),
        amount_minor=amount.amount("value", currency),
        currency=currency,
        failure_code=code if fell_through else None,
        failure_message=reason.prose("message") if fell_through else None,
    )


def _created(payout: Fields) -> datetime | None:
    return payout.moment("createdAt")


def _latest(payout: Fields) -> datetime | None:
    times = (payout.moment(name) for name in ("createdAt", "initiatedAt", "completedAt", "canceledAt"))
    return max((time for time in times if time is not None), default=None)


def _read(body: bytes) -> PayoutUpdate:
    return _update(Fields.of(document(body)))


def _rejected(reply: HttpReply) -> Rejected:
    words = refusal(reply)
    return rejected(reply, words.get("field") or words.get("title"), words.get("detail"))


def _next(page: Fields) -> str | None:
    """Return where the next page begins. Only the id is taken from the link: no answer chooses our next host."""
    links = page.maybe_within("_links")
    link = links.maybe_within("next") if links else None
    if link is None:
        return None
    return parse_qs(urlsplit(link.text("href")).query).get("from", [None])[0]
