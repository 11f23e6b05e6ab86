"""ZoPay Connect: stablecoins and tokens, paid on-chain from a quote that lives 60 seconds.

https://docs.zopay.cash (not zopay.com, which is another company). Its webhooks are announced and not described: we
assume Standard Webhooks, https://www.standardwebhooks.com, and rely on asking.

Money moves once because three things hold. A quote pays once. The Idempotency-Key of the call that pays is made from
our order key, so that even a second submission could not open a second payout under it. And that call is repeated only
inside one submission, word for word: the same call by ZoPay's rule for its keys, and the same single-use quote besides.
After a lost answer only a yes is believed.

ZoPay has no list, and nothing in a payout is ours. What can be asked after a crash is the paying call itself, word for
word: so its quote is on record before it leaves (`prepare`), and it is repeated under the same key only when the quote
has run out and can pay no more (`recover`). Then the first answer comes back, or `quote_already_used`, which says that
the payout is accepted. That it was not is believed of nobody unless the integration says so (`expired_is_unpaid`).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid4, uuid5

import orjson

from connectors._base import (
    Accepted,
    Address,
    Connector,
    GatewayUnavailable,
    Http,
    HttpReply,
    InvalidSignature,
    Memento,
    NotFound,
    Order,
    OutcomeUnknown,
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
from connectors._calls import (
    REFUSALS,
    credential,
    fetch_one,
    is_accepted,
    move,
    prepare,
    refusal,
    rejected,
    unreadable_means,
)
from connectors._json import Fields, digest_key, document, event_key, status_of
from connectors._signatures import BASE64, base64_key, fresh, live_keys, only_value, prove_hmac, tagged, unix_seconds
from models.lifecycle import PayoutStatus
from models.money import ASSET_EXPONENTS, to_text

STATUSES: Final = {
    "pending": PayoutStatus.PENDING,
    "broadcast": PayoutStatus.BROADCAST,
    "delivered": PayoutStatus.DELIVERED,
    "failed": PayoutStatus.FAILED,
}
"""ZoPay allows "any to failed". After `delivered` the lattice makes that RETURNED, and a person hears of it."""

EVENTS: Final = "payout."

NEEDED_DETAILS: Final = ("external_ref", "destination")
"""Fields of `order.details`: a user whom ZoPay knows already, and an address on-chain."""

REPLAYS: Final = 2
"""How often the paying call is repeated after a lost answer. With 20 s for each, a quote's 60 s are used up."""

CLOCKS_APART: Final = timedelta(minutes=1)
"""How far ZoPay's clock may be behind ours while we judge that a quote has run out."""


class ZoPay(Connector):
    """One ZoPay partner. A `sk_live_` or `sk_test_` key chooses the mode, on the same host."""

    name = "zopay"
    DOCUMENTATION = "https://docs.zopay.cash"
    BASE_URL = "https://api.zopay.cash/connect/v1"
    CREDENTIALS = ("secret_key",)
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "tolerance_seconds": 300,  # ASSUMED, as the whole of the webhooks
            "quoted_as": "user_sends",  # ASSUMED: which figure of a quote is the amount we ask for; or recipient_gets
            "failure_field": "failure_reason",  # ASSUMED
            "expired_code": "quote_expired",  # ASSUMED, as the next one: the code of a quote that has run out,
            "unknown_quote_code": "quote_not_found",  # and of one that ZoPay does not have
            # Whether one of these two codes, in answer to the repeated call, says that the first one was
            # never carried out. Not documented: a paid quote might be called expired too, once the key is forgotten.
            "expired_is_unpaid": False,
        }
    )
    STATUSES = STATUSES
    PREPARES = True
    CURRENCIES = frozenset(ASSET_EXPONENTS)
    VISIBILITY_WINDOW = timedelta(hours=1)  # ends nothing unless `expired_is_unpaid`
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(minutes=15),  # a minute or two is usual
            PayoutStatus.SCHEDULED: timedelta(minutes=15),
            PayoutStatus.INITIATED: timedelta(minutes=15),
            PayoutStatus.BROADCAST: timedelta(hours=1),  # a congested chain
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """Standard Webhooks v1: `webhook-signature: v1,<base64>[ v1,…]`, HMAC-SHA256 over `<id>.<timestamp>.<body>`."""
        keys = live_keys(secrets, _key)
        message_id = only_value(request, b"webhook-id")
        time = only_value(request, b"webhook-timestamp")
        if not message_id or b"." in message_id:
            raise InvalidSignature(Reason.MALFORMED_HEADER)  # a dot would move text between the parts that are signed
        signed_at = unix_seconds(time)
        entries = tagged(only_value(request, b"webhook-signature"), separator=b" ", between=b",").get(b"v1", ())
        prove_hmac(entries, BASE64, keys, b".".join((message_id, time, request.body)))
        return Verified(fresh(signed_at, now, self.option("tolerance_seconds")))

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return the event's id."""
        try:
            return event_key(request, Fields.of(document(request.body)).values.get("id"))
        except UnreadableEvent:
            return digest_key(request.body)

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read a `payout.*` event. The truth is the status of the payout in it."""
        event = Fields.of(document(body))
        if not event.text("type").startswith(EVENTS):
            return []
        return [self._update(event.within("data"), event.moment("created_at"))]

    def _update(self, payout: Fields, occurred_at: datetime | None = None) -> PayoutUpdate:
        """Return what a payout object says. It names no asset, so its figures are no amounts to us."""
        said = payout.text("status")
        status = status_of(said, STATUSES)
        reason = payout.values.get(self.option("failure_field")) if status is PayoutStatus.FAILED else None
        return PayoutUpdate(
            reference=payout.text("id"),
            status=status,
            said=said,
            occurred_at=occurred_at,
            failure_code=reason if isinstance(reason, str) and _CODE.fullmatch(reason) else None,
            failure_message=payout.prose(self.option("failure_field")) if isinstance(reason, str) else None,
            estimated_delivery_at=payout.moment("estimated_delivery_at"),
        )

    # --- calls

    def address(self, wish: Wish) -> Address:
        """`details.external_ref` is a user whom ZoPay knows, `details.destination` an address on the chain."""
        known = {name: wish.details.get(name) for name in (*NEEDED_DETAILS, "network_hint")}
        for name in NEEDED_DETAILS:
            if not isinstance(known[name], str) or not known[name]:
                raise Unaddressable(f"details.{name}", "ZoPay pays a user whom it knows, to an address on the chain")
        details = {name: text for name, text in known.items() if isinstance(text, str)}
        return Address(details, masked(details["destination"]))

    async def prepare(self, order: Order, http: Http) -> Memento | Rejected:
        """POST /payouts/quote, which moves nothing. Its key is new each time: an old quote would have run out."""
        for name in NEEDED_DETAILS:
            if not order.details.get(name):
                return Rejected(code="missing_detail", message=f"details.{name} is missing")
        wish = {name: order.details[name] for name in (*NEEDED_DETAILS, "network_hint") if name in order.details}
        wish |= {"asset": order.currency, "amount": to_text(order.amount_minor, order.currency)}
        headers = self._headers(str(uuid4()))
        reply = await prepare(http, f"{self.base_url}/payouts/quote", headers=headers, body=orjson.dumps(wish))
        if not is_accepted(reply):
            return _rejected(reply)
        with unreadable_means(GatewayUnavailable):
            return self._vetted(Fields.of(document(reply.body)), order)

    async def submit(self, order: Order, http: Http) -> Submission:
        """POST /payouts, and the same again after a lost answer: it is the same call to ZoPay, by its key."""
        lost: OutcomeUnknown | None = None
        for _ in range(1 + REPLAYS):
            try:
                reply = await self._pay(order.order_key, order.memento, http)
            except OutcomeUnknown as error:
                lost = error
            except GatewayUnavailable:
                if lost is None:
                    raise
            else:
                return self._concluded(reply, order, lost)
        raise lost or OutcomeUnknown("nobody answered")

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /payouts/{id}. Our key alone finds nothing there, and that is never taken for absence: see `recover`."""
        del order_key
        headers = self._headers()
        if reference is None:
            raise GatewayUnavailable("ZoPay cannot be asked by our key")
        url = f"{self.base_url}/payouts/{quote(reference, safe='')}"
        return await fetch_one(http, url, headers, lambda body: self._update(Fields.of(document(body))))

    async def recover(self, order_key: str, memento: Memento, now: datetime, http: Http) -> PayoutUpdate | NotFound:
        """POST /payouts as `submit` did. Only after the quote has run out: the question must not be what pays."""
        if now - datetime.fromisoformat(memento["expires_at"]) < CLOCKS_APART:
            raise GatewayUnavailable("the quote may still pay: too early to ask")
        try:
            reply = await self._pay(order_key, memento, http)
        except OutcomeUnknown as unknown:
            raise GatewayUnavailable(str(unknown)) from unknown
        if is_accepted(reply):
            with unreadable_means(GatewayUnavailable):
                return self._update(Fields.of(document(reply.body)))
        code = _rejected(reply).code
        if code == "quote_already_used":
            return PayoutUpdate(reference=None, status=PayoutStatus.PENDING, said=code)
        is_over = code in {self.option("expired_code"), self.option("unknown_quote_code")}
        if is_over and self.option("expired_is_unpaid") is True:
            return NotFound()
        raise GatewayUnavailable(f"refused: {code}")

    def _vetted(self, offer: Fields, order: Order) -> Memento | Rejected:
        """Return a quote that may be executed. ZoPay says in a 200 that there is not enough money."""
        if offer.values.get("insufficient_funds") is not None:
            return Rejected(code="insufficient_funds", message="the balance at ZoPay does not cover the payout")
        quote_id, expires_at = offer.text("quote_id"), offer.moment("expires_at")
        if expires_at is None:
            raise UnreadableEvent("the quote names no end")
        quoted = offer.amount(self.option("quoted_as"), order.currency)
        if quoted is None:
            raise UnreadableEvent("the quote names no amount")
        if quoted != order.amount_minor:
            return Rejected(code="quote_differs", message="ZoPay quotes another amount than the one asked for")
        return {"quote_id": quote_id, "expires_at": expires_at.isoformat()}

    async def _pay(self, order_key: str, memento: Memento, http: Http) -> HttpReply:
        """POST /payouts, the same request every time. Raises as `move` does, and when no quote was prepared."""
        if "quote_id" not in memento:
            raise GatewayUnavailable("no quote was prepared")
        headers = self._headers(str(uuid5(NAMESPACE_URL, f"https://docs.zopay.cash/payouts#{order_key}")))
        body = orjson.dumps({"quote_id": memento["quote_id"]})
        return await move(http, "POST", f"{self.base_url}/payouts", headers=headers, body=body, refusals=_REFUSALS)

    def _concluded(self, reply: HttpReply, order: Order, lost: OutcomeUnknown | None) -> Submission:
        """Return what an answer to the paying call means; `lost` is an earlier one that did not reach us."""
        if is_accepted(reply):
            return Accepted(update=self._accepted(reply, order))
        no = _rejected(reply)
        if lost is not None:
            # It refuses the repetition. The first call may have been carried out all the same.
            raise OutcomeUnknown(f"{lost}, then refused: {no.code}") from lost
        if reply.status == HTTPStatus.CONFLICT and no.code != self.option("expired_code"):
            # The quote or the key was used before: a payout of ours may stand there under an id that we do not know.
            raise OutcomeUnknown(f"refused: {no.code}")
        return no

    def _accepted(self, reply: HttpReply, order: Order) -> PayoutUpdate:
        """Return what a yes says. One of which only the id can be read still tells whom to ask about."""
        try:
            update = self._update(Fields.of(document(reply.body)))
        except UnreadableEvent as unreadable:
            reference = refusal(reply).get("id")
            known = reference if isinstance(reference, str) and _REFERENCE.fullmatch(reference) else None
            raise OutcomeUnknown(f"unreadable answer: {unreadable}", reference=known) from unreadable
        return PayoutUpdate(
            reference=update.reference,
            order_key=order.order_key,
            status=update.status,
            said=update.said,
            estimated_delivery_at=update.estimated_delivery_at,
        )

    def _headers(self, idempotency_key: str | None = None) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {credential(self.account, 'secret_key')}"}
        if idempotency_key is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        return headers


_key: Final = partial(base64_key, prefix="whsec_")
_REFUSALS: Final = REFUSALS | {HTTPStatus.CONFLICT}
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REFERENCE: Final = re.compile(r"pay_[A-Za-z0-9_-]{1,100}")


def _rejected(reply: HttpReply) -> Rejected:
    """Return a refusal, in either of the forms that are met: `{"error": {…}}` or `{"detail": {…}}`."""
    words = refusal(reply)
    found = words.get("error") or words.get("detail")
    fault = found if isinstance(found, dict) else {}
    return rejected(reply, fault.get("code"), fault.get("message"))
