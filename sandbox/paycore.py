"""PayCore's payout invoices: JSON:API as PHP writes it, a plain SHA-1 signature, nothing but 200 is success.

https://github.com/paycoreio/docs and https://github.com/paycoreio/webhooks. Paging and filter parameters and the
cancel call are assumed: the vendor documents the states, not the requests.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping, Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any, ClassVar, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.answers import Document, Refused, read_json
from sandbox.gateway import Gateway
from sandbox.php import as_php
from sandbox.signers.paycore import sign
from sandbox.world import Payout

MAX_TRIES: Final = 100
MAX_PAGE: Final = 1000
MAX_AMOUNT: Final = 10**15


class PayCore(Gateway):
    """https://com.paycore.io/api, the Commerce Private API."""

    name = "paycore"
    MEANINGS: ClassVar[Mapping[str, str]] = {
        "created": "pending",
        "processing": "initiated",
        "process_pending": "broadcast",
        "processed": "delivered",
        "process_failed": "failed",
        "canceled": "canceled",
    }
    STORIES: ClassVar[Mapping[str, Sequence[str]]] = {
        "delivered": ("processing", "process_pending", "processed:ok"),
        "failed": ("processing", "process_pending", "process_failed:declined_error"),
        "returned": ("processing", "process_pending", "processed:ok", "canceled:ok"),
        "canceled": ("canceled:ok",),
        "stuck": ("processing", "process_pending"),
    }
    WAITS = tuple(60 * nth for nth in range(1, MAX_TRIES))

    def routes(self) -> list[BaseRoute]:
        """Return the API below the base URL."""
        return [
            Route("/payout-invoices", self.endpoint("create", self._create), methods=["POST"]),
            Route("/payout-invoices", self.endpoint("list", self._list), methods=["GET"]),
            Route("/payout-invoices/{reference}", self.endpoint("get", self._get), methods=["GET"]),
            Route("/payout-invoices/{reference}/cancel", self.endpoint("cancel", self._cancel), methods=["POST"]),
        ]

    # --- signature and delivery

    def sign(self, secret: str, body: bytes, signed_at: int) -> dict[str, str]:
        """Return the SHA-1 of secret, raw body and secret, in base64. No HMAC, no time."""
        return dict(sign(body, secret, signed_at))

    def is_accepted(self, status: int) -> bool:
        """Tell whether the answer is exactly 200; 204 is not."""
        return status == HTTPStatus.OK

    def headers(self, attempt: int, next_at: int | None) -> dict[str, str]:
        """Return what PayCore tells about its retries."""
        return {"Retry-Count": str(attempt), **({"Next-Retry": str(next_at)} if next_at else {})}

    def webhook_url(self, payout: Payout) -> str:
        """Return the object's own callback_url, or else the account's."""
        return str(payout.extra["callback_url"] or self.account.webhook_url)

    # --- bodies

    def webhooks(self, payout: Payout) -> list[bytes]:
        """Return the callback of the present status."""
        return [as_php({"data": self._resource(payout)})]

    def forgery(self, payout: Payout) -> bytes:
        """Return a callback that claims the opposite of the truth."""
        resource = self._resource(payout)
        resource["attributes"]["status"] = "processed" if payout.native == "process_failed" else "process_failed"
        return as_php({"data": resource})

    def _resource(self, payout: Payout) -> Document:
        serial, extra = payout.reference.removeprefix("cpoi_"), payout.extra
        processed = payout.first_at("processed")
        attributes = {
            "serial_number": serial,
            "status": payout.native,
            "resolution": payout.reason or None,
            "moderation_required": False,
            "amount": payout.amount,
            "payout_amount": payout.amount,
            "currency": payout.currency,
            "service_currency": payout.currency,
            "reference_id": payout.order_key,
            "description": payout.description or None,
            "test_mode": bool(extra["test_mode"]),
            "fee": 0,
            "writeoff": payout.amount,
            "processed": None if processed is None else int(processed),
            "processed_amount": 0 if processed is None else payout.amount,
            "fields": extra["fields"] or {},
            "metadata": {},
            "callback_url": extra["callback_url"],
            "created": int(payout.history[0].at),
            "updated": int(payout.history[-1].at),
            "payouts": _attempts(payout, serial),
        }
        service = {"data": {"type": "payout-services", "id": extra["service"]}}
        return {
            "type": "payout-invoices",
            "id": payout.reference,
            "attributes": attributes,
            "relationships": {"payout-service": service} if extra["service"] else {},
            "links": {"self": f"/api/payout-invoices/{payout.reference}"},
        }

    def problem(self, refused: Refused) -> Response:
        """Write an error as JSON:API."""
        source = {"source": {"pointer": f"/data/attributes/{refused.field}"}} if refused.field else {}
        title = HTTPStatus(refused.status).phrase
        error = {"status": str(refused.status), "title": title, "detail": refused.detail, **source}
        return _answer({"errors": [error]}, refused.status)

    # --- calls

    def is_known(self, request: Request) -> bool:
        """Tell whether the Basic credentials are the account id and its key."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(credentials, validate=True)
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and given == f"{self.account.account_id}:{self.account.api_key}".encode()

    async def _create(self, request: Request) -> Response:
        payout = self._ordered(_attributes(await read_json(request)))
        self.admit(payout, "created")
        self.announce(payout)
        self.begin(payout)
        return self.answer_or_hang_up("create", payout, _answer({"data": self._resource(payout)}, 201))

    def _ordered(self, attributes: Document) -> Payout:
        amount = attributes.get("amount")
        if isinstance(amount, bool) or not isinstance(amount, int | Decimal) or not 0 < amount < MAX_AMOUNT:
            raise Refused(422, "amount must be a number above zero", "amount")
        for field in ("currency", "reference_id"):
            if not isinstance(attributes.get(field), str) or not attributes[field]:
                raise Refused(422, f"{field} must be text", field)
        order_key = attributes["reference_id"]
        if (self.name, order_key) in self.world.by_order_key:
            raise Refused(429, "Duplicate request detected", "reference_id")
        reference, description = f"cpoi_{secrets.token_hex(8)}", str(attributes.get("description") or "")
        extra = {name: attributes.get(name) for name in ("service", "fields", "callback_url", "test_mode")}
        return Payout(self.name, reference, order_key, Decimal(amount), attributes["currency"], description, extra)

    async def _get(self, request: Request) -> Response:
        return _answer({"data": self._resource(self._named(request))})

    def _named(self, request: Request) -> Payout:
        return self.payout(request.path_params["reference"], "Payout invoice not found")

    async def _cancel(self, request: Request) -> Response:
        payout = self._named(request)
        if payout.native != "created":
            raise Refused(422, "The payout invoice can no longer be canceled")
        self.end(payout)
        self.move(payout, "canceled", "ok")
        return _answer({"data": self._resource(payout)})

    async def _list(self, request: Request) -> Response:
        number, size = (_page(request, name, usual) for name, usual in (("number", 1), ("size", 25)))
        payouts = self._filtered(request.query_params.get("filter[reference_id]"))
        following = request.url.include_query_params(**{"page[number]": number + 1, "page[size]": size})
        has_more = number * size < len(payouts)
        document = {
            "data": [self._resource(payout) for payout in payouts[(number - 1) * size : number * size]],
            "links": {"self": str(request.url), "next": str(following) if has_more else None},
            "meta": {"total": len(payouts)},
        }
        return _answer(document)

    def _filtered(self, order_key: str | None) -> list[Payout]:
        if order_key is None:
            return list(reversed(self.world.payouts[self.name].values()))
        found = self.world.by_order_key.get((self.name, order_key))
        return [found] if found else []


def _answer(document: Document, status: int = 200) -> Response:
    return Response(as_php(document), status, media_type="application/vnd.api+json")


def _attributes(body: Any) -> Document:
    """Return the attributes of a flat body or of a JSON:API document."""
    resource = body.get("data") if isinstance(body, dict) else None
    attributes = resource.get("attributes") if isinstance(resource, dict) else body
    if not isinstance(attributes, dict):
        raise Refused(400, "The request body must be an object")
    return attributes


def _attempts(payout: Payout, serial: str) -> list[Document]:
    """Return the payouts beneath a final invoice; here always one."""
    if payout.native not in {"processed", "process_failed", "canceled"} or len(payout.history) == 1:
        return []
    attempt = {"id": f"po_{serial}", "rrn": None, "amount": payout.amount, "currency": payout.currency}
    return [{**attempt, "status": payout.native}]


def _page(request: Request, name: str, usual: int) -> int:
    text = request.query_params.get(f"page[{name}]", str(usual))
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PAGE:
        raise Refused(400, f"page[{name}] must be a number from 1 to {MAX_PAGE}")
    return int(text)
