"""Mollie's balance payouts: HAL bodies, an Idempotency-Key that replays, events signed without a time.

https://docs.mollie.com/reference/create-payout and https://docs.mollie.com/reference/webhooks-new.
The retry times are those of Mollie's classic webhooks; the new ones are assumed to keep them.
"""

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from decimal import Decimal
from http import HTTPStatus
from itertools import pairwise
from typing import Any, ClassVar, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.answers import Document, Refused, read_json
from sandbox.gateway import Gateway
from sandbox.mollie_requests import order_key_of, read_order, read_page
from sandbox.signers.mollie import sign
from sandbox.stories import draw, without_steering
from sandbox.world import MAX_PAYOUTS, Moment, Payout, iso

TRIED_AFTER_SECONDS: Final = (0, 60, 180, 420, 900, 1860, 3600, 7200, 14400, 93600)
REPLAYED_FOR_SECONDS: Final = 3600
FOREIGN_EVERY: Final = 5
"""One automatic payout of somebody else stands before every so many of the caller's."""
TITLES: Final = {401: "Unauthorized Request", 422: "Unprocessable Entity"}
"""Where Mollie's title is not the usual one."""
MESSAGES: Final = {"returned": "The bank sent the money back.", "bank_processing_failed": "The bank refused it."}


class Mollie(Gateway):
    """https://api.mollie.com, below `/v2`."""

    name = "mollie"
    MEANINGS: ClassVar[Mapping[str, str]] = {
        "requested": "pending",
        "initiated": "initiated",
        "processing-at-bank": "broadcast",
        "completed": "delivered",
        "failed": "failed",
        "canceled": "canceled",
    }
    STORIES: ClassVar[Mapping[str, Sequence[str]]] = {
        "delivered": ("initiated", "processing-at-bank", "completed"),
        "failed": ("initiated", "processing-at-bank", "failed:bank_processing_failed"),
        "returned": ("initiated", "processing-at-bank", "completed", "failed:returned"),
        "canceled": ("canceled",),
        "stuck": ("initiated", "processing-at-bank"),
    }
    WAITS = tuple(later - earlier for earlier, later in pairwise(TRIED_AFTER_SECONDS))

    def routes(self) -> list[BaseRoute]:
        """Return the API below the base URL."""
        return [
            Route("/v2/payouts", self.endpoint("create", self._create), methods=["POST"]),
            Route("/v2/payouts", self.endpoint("list", self._list), methods=["GET"]),
            Route("/v2/payouts/{reference}", self.endpoint("get", self._get), methods=["GET"]),
            Route("/v2/payouts/{reference}", self.endpoint("cancel", self._cancel), methods=["DELETE"]),
        ]

    # --- signature

    def sign(self, secret: str, body: bytes, signed_at: int) -> dict[str, str]:
        """Return `sha256=` and the HMAC of the raw body, in hex. No time is signed."""
        return dict(sign(body, secret, signed_at))

    # --- bodies

    def webhooks(self, payout: Payout) -> list[bytes]:
        """Return the event of the present status; a request has none."""
        if payout.native == "requested":
            return []
        rng = draw(self.world.seed, "payload", self.name, payout.order_key, payout.webhooks_made)
        is_simple = rng.random() < self.world.behaviour.mollie_simple_payload
        return [self._event(payout.reference, payout.native, None if is_simple else self._document(payout))]

    def forgery(self, payout: Payout) -> bytes:
        """Return an event that claims the opposite of the truth."""
        claimed = "completed" if payout.native == "failed" else "failed"
        document = {**self._document(payout), "status": claimed, "statusReason": {"code": claimed, "message": claimed}}
        return self._event(payout.reference, claimed, document)

    def _event(self, reference: str, status: str, entity: Document | None) -> bytes:
        event_id = f"event_{secrets.token_hex(10)}"
        event = {
            "resource": "event",
            "id": event_id,
            "type": f"payout.{status}",
            "entityId": reference,
            "createdAt": iso(self.world.now()),
            **({"_embedded": {"entity": entity}} if entity else {}),
            "_links": {
                "self": _link(f"https://api.mollie.com/v2/events/{event_id}"),
                "entity": _link(f"/v2/payouts/{reference}"),
            },
        }
        return json.dumps(event, separators=(",", ":")).encode()

    def _document(self, payout: Payout) -> Document:
        code = payout.reason or payout.native.replace("-", "_")
        return {
            "resource": "payout",
            "id": payout.reference,
            "balanceId": payout.extra["balanceId"],
            "amount": {"currency": payout.currency, "value": f"{payout.amount:f}"},
            "description": payout.description or None,
            "status": payout.native,
            "statusReason": {"code": code, "message": MESSAGES.get(code, f"The payout is {payout.native}.")},
            "createdAt": iso(payout.history[0].at),
            "initiatedAt": payout.iso_at("initiated"),
            "completedAt": payout.iso_at("completed"),
            "canceledAt": payout.iso_at("canceled"),
            "mode": "test",
            "_links": {"self": _link(f"https://api.mollie.com/v2/payouts/{payout.reference}")},
        }

    def problem(self, refused: Refused) -> Response:
        """Write an error in HAL."""
        document = {
            "status": refused.status,
            "title": TITLES.get(refused.status, HTTPStatus(refused.status).phrase),
            "detail": refused.detail,
            **({"field": refused.field} if refused.field else {}),
            "_links": {"documentation": _link("https://docs.mollie.com/reference/handling-errors", "text/html")},
        }
        return _hal(document, refused.status)

    # --- calls

    def is_known(self, request: Request) -> bool:
        """Tell whether the bearer key is the account's."""
        return request.headers.get("authorization") == f"Bearer {self.account.api_key}"

    async def _create(self, request: Request) -> Response:
        body = await read_json(request)
        key = request.headers.get("idempotency-key", "")
        answered_at, answer = self.world.replays.get(key, (-math.inf, {}))
        if self.world.now() - answered_at < REPLAYED_FOR_SECONDS:
            return _hal(answer, 201)
        payout = self._ordered(body, key)
        self._admit_foreign()
        self.admit(payout, "requested")
        answer = self._document(payout)
        if key:
            self._keep(key, answer)
        self.begin(payout)
        return self.answer_or_hang_up("create", payout, _hal(answer, 201))

    def _keep(self, key: str, answer: Document) -> None:
        if len(self.world.replays) >= MAX_PAYOUTS:
            del self.world.replays[next(iter(self.world.replays))]
        self.world.replays.pop(key, None)
        self.world.replays[key] = (self.world.now(), answer)

    def _ordered(self, body: Any, key: str) -> Payout:
        order = read_order(body)
        self._refuse_second(order.balance)
        reference = f"payout_{secrets.token_hex(10)}"
        order_key = order_key_of(without_steering(order.description), key) or reference
        extra = {"balanceId": order.balance}
        return Payout(self.name, reference, order_key, order.value, order.currency, order.description, extra)

    def _refuse_second(self, balance: str) -> None:
        payouts = self.world.payouts[self.name].values()
        if self.world.behaviour.mollie_one_payout_per_day and any(
            payout.native == "requested" and payout.extra["balanceId"] == balance for payout in payouts
        ):
            raise Refused(422, "A payout is already scheduled for the next business day on this balance", "balanceId")

    def _admit_foreign(self) -> None:
        if len(self.world.payouts[self.name]) % FOREIGN_EVERY:
            return
        reference = f"payout_{secrets.token_hex(10)}"
        payout = Payout(self.name, reference, "", Decimal("12.34"), "EUR", "Automatic payout", is_foreign=True)
        payout.extra["balanceId"] = "bal_automatic"
        payout.history = [Moment(word, "", self.world.now()) for word in ("requested", *self.STORIES["delivered"])]
        self.world.admit(payout)

    async def _get(self, request: Request) -> Response:
        return _hal(self._document(self._named(request)))

    def _named(self, request: Request) -> Payout:
        reference = request.path_params["reference"]
        return self.payout(reference, f"No payout exists with token {reference}.")

    async def _cancel(self, request: Request) -> Response:
        payout = self._named(request)
        if payout.native != "requested":
            raise Refused(409, "The payout can no longer be canceled")
        self.end(payout)
        self.move(payout, "canceled")
        return self.answer_or_hang_up("cancel", payout, _hal(self._document(payout)))

    async def _list(self, request: Request) -> Response:
        asked = request.query_params
        payouts = [
            payout
            for payout in self.world.payouts[self.name].values()
            if asked.get("balanceId", payout.extra["balanceId"]) == payout.extra["balanceId"]
        ]
        if asked.get("sort", "desc") == "desc":
            payouts.reverse()
        start, limit = read_page(payouts, asked)
        page = payouts[start : start + limit + 1]
        following = request.url.include_query_params(**{"from": page.pop().reference}) if len(page) > limit else None
        document = {
            "count": len(page),
            "_embedded": {"payouts": [self._document(payout) for payout in page]},
            "_links": {
                "self": _link(str(request.url)),
                "previous": None,
                "next": _link(str(following)) if following else None,
            },
        }
        return _hal(document)


def _hal(document: Document, status: int = 200) -> Response:
    return Response(json.dumps(document), status, media_type="application/hal+json")


def _link(href: str, kind: str = "application/hal+json") -> dict[str, str]:
    return {"href": href, "type": kind}
