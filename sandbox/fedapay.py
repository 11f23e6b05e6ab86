"""FedaPay's payouts: created first and started second, whole francs, events signed afresh on every try.

Read from the vendor's SDKs (fedapay-php, fedapay-node, fedapay-ruby) and https://docs.fedapay.com. That a repeated
merchant_reference is refused is documented for collections and assumed for payouts.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.answers import Document, Refused, read_json
from sandbox.gateway import Gateway
from sandbox.signers.fedapay import sign
from sandbox.world import Payout, iso

PER_PAGE: Final = 25
MAX_PAGE: Final = 10_000
UNKNOWN: Final = "Payout not found"
LAST_ERRORS: Final = {"declined": "The operator declined the payout."}


class FedaPay(Gateway):
    """https://sandbox-api.fedapay.com/v1."""

    name = "fedapay"
    MEANINGS: ClassVar[Mapping[str, str]] = {
        "pending": "pending",
        "scheduled": "scheduled",
        "started": "initiated",
        "processing": "initiated",
        "sent": "delivered",
        "failed": "failed",
        "deleted": "canceled",
    }
    STORIES: ClassVar[Mapping[str, Sequence[str]]] = {
        "delivered": ("started", "processing", "sent"),
        "failed": ("started", "processing", "failed:declined"),
        "stuck": ("started", "processing"),
    }
    WAITS = (15, 30, 60, 120, 120, 120, 120, 120, 120)

    def routes(self) -> list[BaseRoute]:
        """Return the API below the base URL."""
        return [
            Route("/payouts", self.endpoint("create", self._create), methods=["POST"]),
            Route("/payouts", self.endpoint("list", self._list), methods=["GET"]),
            Route("/payouts/start", self.endpoint("start", self._start), methods=["PUT"]),
            Route("/payouts/search", self.endpoint("search", self._search), methods=["GET"]),
            Route("/payouts/{reference}", self.endpoint("get", self._get), methods=["GET"]),
            Route("/payouts/{reference}", self.endpoint("delete", self._delete), methods=["DELETE"]),
        ]

    # --- signature

    def sign(self, secret: str, body: bytes, signed_at: int) -> dict[str, str]:
        """Return the time and the HMAC of `<time>.<raw body>`, in hex."""
        return dict(sign(body, secret, signed_at))

    # --- bodies

    def webhooks(self, payout: Payout) -> list[bytes]:
        """Return the two events of a change, or the one of a creation."""
        if payout.native == "pending":
            return [self._event("payout.created", self._document(payout))]
        return [self._event(f"payout.{word}", self._document(payout)) for word in (payout.native, "updated")]

    def forgery(self, payout: Payout) -> bytes:
        """Return an event that claims the opposite of the truth."""
        claimed = "sent" if payout.native == "failed" else "failed"
        return self._event(f"payout.{claimed}", {**self._document(payout), "status": claimed})

    def _event(self, name: str, entity: Document) -> bytes:
        now = iso(self.world.now())
        event = {
            "id": next(self.world.numbers),
            "klass": "v1/event",
            "name": name,
            "object_id": entity["id"],
            "account_id": 12,
            "entity": entity,
            "created_at": now,
            "updated_at": now,
        }
        return json.dumps(event, separators=(",", ":")).encode()

    def _document(self, payout: Payout) -> Document:
        amount, is_sent = int(payout.amount), payout.native == "sent"
        is_deleted = payout.native == "deleted"
        return {
            "klass": "v1/payout",
            "id": int(payout.reference),
            "reference": f"{payout.reference}-{self.world.seed}",
            "amount": amount,
            "status": "pending" if is_deleted else payout.native,
            "currency": {"iso": payout.currency},
            "mode": payout.extra["mode"],
            "description": payout.description or None,
            "merchant_reference": payout.extra["merchant_reference"],
            "custom_metadata": payout.extra["custom_metadata"],
            "last_error_code": payout.reason or None,
            "last_error_message": LAST_ERRORS.get(payout.reason),
            "amount_transferred": amount if is_sent else None,
            "created_at": iso(payout.history[0].at),
            "updated_at": iso(payout.history[-1].at),
            **{f"{word}_at": payout.iso_at(word) for word in ("scheduled", "started", "sent", "failed", "deleted")},
        }

    def problem(self, refused: Refused) -> Response:
        """Write an error: a message, and the fields at fault."""
        errors = {"errors": {refused.field: [refused.detail]}} if refused.field else {}
        return JSONResponse({"message": refused.detail, **errors}, refused.status)

    def _one(self, payout: Payout, status: int = 200) -> Response:
        document = self._document(payout)
        return JSONResponse({"v1/payout": document} if self._is_wrapped() else document, status)

    def _many(self, payouts: list[Payout], page: int = 1, per_page: int = PER_PAGE) -> Response:
        shown = [self._document(payout) for payout in payouts[(page - 1) * per_page : page * per_page]]
        pages = -(-len(payouts) // per_page)
        meta = {
            "current_page": page,
            "next_page": page + 1 if page < pages else None,
            "prev_page": page - 1 if page > 1 else None,
            "total_pages": pages,
            "total_count": len(payouts),
            "per_page": per_page,
        }
        return JSONResponse({"v1/payouts": shown, "meta": meta} if self._is_wrapped() else shown)

    def _is_wrapped(self) -> bool:
        wish = self.world.behaviour.fedapay_bodies
        return wish == "wrapped" or (wish == "alternate" and sum(self.world.api_calls[self.name].values()) % 2 == 1)

    # --- calls

    def is_known(self, request: Request) -> bool:
        """Tell whether the bearer key is the account's."""
        return request.headers.get("authorization") == f"Bearer {self.account.api_key}"

    async def _create(self, request: Request) -> Response:
        payout = self._ordered(await read_json(request))
        self.admit(payout, "pending")
        self.announce(payout)
        return self.answer_or_hang_up("create", payout, self._one(payout, 201))

    def _ordered(self, body: Any) -> Payout:
        if not isinstance(body, dict):
            raise Refused(400, "The request body must be an object")
        amount, currency = body.get("amount"), body.get("currency")
        if isinstance(amount, bool) or not isinstance(amount, int) or amount <= 0:
            raise Refused(422, "amount must be an integer above zero", "amount")
        iso_code = currency.get("iso") if isinstance(currency, dict) else None
        if not isinstance(iso_code, str):
            raise Refused(422, "currency must have an iso code", "currency")
        merchant_reference = body.get("merchant_reference")
        if merchant_reference and (self.name, str(merchant_reference)) in self.world.by_order_key:
            raise Refused(422, "merchant_reference has already been taken", "merchant_reference")
        reference = str(next(self.world.numbers))
        extra = {name: body.get(name) for name in ("mode", "merchant_reference", "custom_metadata")}
        order_key, description = str(merchant_reference or reference), str(body.get("description") or "")
        return Payout(self.name, reference, order_key, Decimal(amount), iso_code, description, extra)

    async def _start(self, request: Request) -> Response:
        body = await read_json(request)
        wishes = body.get("payouts") if isinstance(body, dict) else body
        if not isinstance(wishes, list) or not all(isinstance(wish, dict) and "id" in wish for wish in wishes):
            raise Refused(422, "payouts must be a list of objects with an id", "payouts")
        started = [payout for wish in wishes if (payout := self._started(wish))]
        if not started:
            raise Refused(422, "None of the payouts can be started", "payouts")
        return self.answer_or_hang_up("start", started[0], self._many(started, per_page=len(started)))

    def _started(self, wish: Document) -> Payout | None:
        """Start one payout; one that is unknown or started already is left out of the answer."""
        payout = self.world.payouts[self.name].get(str(wish["id"]))
        if payout is None or payout.native != "pending" or not payout.is_over:
            return None
        self.begin(payout, *(["scheduled"] if wish.get("scheduled_at") else []))
        return payout

    async def _get(self, request: Request) -> Response:
        return self._one(self.payout(request.path_params["reference"], UNKNOWN))

    async def _delete(self, request: Request) -> Response:
        payout = self.payout(request.path_params["reference"], UNKNOWN)
        if payout.native != "pending" or not payout.is_over:
            raise Refused(422, "Only a payout that was not started can be deleted")
        self.move(payout, "deleted")
        return self._one(payout)

    async def _list(self, request: Request) -> Response:
        page, per_page = (_count(request, name, usual) for name, usual in (("page", 1), ("per_page", PER_PAGE)))
        return self._many(list(reversed(self.world.payouts[self.name].values())), page, per_page)

    async def _search(self, request: Request) -> Response:
        sought = request.query_params.get("search", "")
        found = self.world.by_order_key.get((self.name, sought))
        return self._many([found] if found else self._containing(sought), _count(request, "page", 1))

    def _containing(self, sought: str) -> list[Payout]:
        return [payout for payout in self.world.payouts[self.name].values() if sought and sought in payout.order_key]


def _count(request: Request, name: str, usual: int) -> int:
    text = request.query_params.get(name, str(usual))
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PAGE:
        raise Refused(400, f"{name} must be a number from 1", name)
    return int(text)
