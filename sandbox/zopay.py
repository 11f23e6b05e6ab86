"""ZoPay Connect: a quote that lives 60 seconds and pays once, an Idempotency-Key that replays, ids of its own.

https://docs.zopay.cash. A `sk_test_` key makes every id a digest of what was asked for and uses no quote up. Assumed:
the error's form, the code of a quote that has run out, which `external_ref` is unknown, and the whole of the webhooks,
which are those of https://www.standardwebhooks.com. Without a webhook URL there are none, as ZoPay has it today.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.answers import Document, Refused, read_json
from sandbox.gateway import Endpoint, Gateway
from sandbox.world import Payout, iso
from sandbox.zopay_requests import Quote, digest, read_quote, shown_quote

QUOTE_SECONDS: Final = 60.0
SHORTEST_QUOTE_SECONDS: Final = 2.0
"""However fast the stories run, a caller has this long."""
REPLAYED_FOR_SECONDS: Final = 24 * 3600
SECONDS_LEFT: Final = {"pending": 90, "broadcast": 30}
"""From the last change to the estimated delivery, at speed 1."""
CODES: Final = {400: "invalid_request", 401: "unauthorized", 503: "unavailable"}
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


class ZoPay(Gateway):
    """https://api.zopay.cash/connect/v1."""

    name = "zopay"
    MEANINGS: ClassVar[Mapping[str, str]] = {
        "pending": "pending",
        "broadcast": "broadcast",
        "delivered": "delivered",
        "failed": "failed",
    }
    STORIES: ClassVar[Mapping[str, Sequence[str]]] = {
        "delivered": ("broadcast", "delivered"),
        "failed": ("broadcast", "failed:reverted_on_chain"),
        "stuck": ("broadcast",),
    }
    WAITS = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)

    def routes(self) -> list[BaseRoute]:
        """Return the API below the base URL."""
        return [
            Route("/payouts/quote", self._repeatable("quote", self._quote), methods=["POST"]),
            Route("/payouts", self._repeatable("create", self._create), methods=["POST"]),
            Route("/payouts/{reference}", self.endpoint("get", self._get), methods=["GET"]),
        ]

    # --- signature

    def sign(self, secret: str, body: bytes, signed_at: int) -> dict[str, str]:
        """Return the three headers of Standard Webhooks; the id is the event's, the same on every try."""
        message_id = str(json.loads(body)["id"])
        message = b"%s.%d.%s" % (message_id.encode(), signed_at, body)
        signature = hmac.new(_key_of(secret), message, hashlib.sha256).digest()
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(signed_at),
            "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
        }

    # --- bodies

    def webhooks(self, payout: Payout) -> list[bytes]:
        """Return the event of the present status; a creation has none."""
        return [] if payout.native == "pending" else [self._event(payout.native, self._document(payout))]

    def forgery(self, payout: Payout) -> bytes:
        """Return an event that claims the opposite of the truth."""
        claimed = "delivered" if payout.native == "failed" else "failed"
        return self._event(claimed, {**self._document(payout), "status": claimed})

    def _event(self, status: str, document: Document) -> bytes:
        event = {
            "id": f"evt_{secrets.token_hex(10)}",
            "type": f"payout.{status}",
            "created_at": iso(self.world.now()),
            "data": document,
        }
        return json.dumps(event, separators=(",", ":")).encode()

    def _document(self, payout: Payout) -> Document:
        seconds = SECONDS_LEFT.get(payout.native, 0) / self.world.behaviour.speed
        return {
            "id": payout.reference,
            "status": payout.native,
            "quote": payout.extra["quote"],
            "estimated_delivery_at": iso(payout.history[-1].at + seconds),
            "tracking_url": f"https://track.zopay.cash/{payout.reference}",
            **({"failure_reason": payout.reason} if payout.native == "failed" else {}),
        }

    def problem(self, refused: Refused) -> Response:
        """Write an error; the two forms that are met take turns."""
        fault = {"code": refused.field or CODES.get(refused.status, "not_found"), "message": refused.detail}
        is_even = sum(self.world.api_calls[self.name].values()) % 2 == 0
        return JSONResponse({"error" if is_even else "detail": fault}, refused.status)

    # --- calls

    def is_known(self, request: Request) -> bool:
        """Tell whether the bearer key is the account's."""
        return request.headers.get("authorization") == f"Bearer {self.account.api_key}"

    def _admit(self, request: Request) -> None:
        """Read the Idempotency-Key before anything else, as ZoPay does: a malformed one is 400 even to a stranger."""
        key = request.headers.get("idempotency-key")
        if key is not None and not _KEY.fullmatch(key):
            raise Refused(400, "The Idempotency-Key is malformed", "idempotency_key_malformed")
        super()._admit(request)

    def _repeatable(self, operation: str, work: Endpoint) -> Endpoint:
        """Answer the same key and body for a day with the first answer, and another body with 409."""

        async def repeated(request: Request) -> Response:
            key = request.headers.get("idempotency-key")
            if key is None:
                return await work(request)
            body, name = await request.body(), f"{operation} {key}"
            at, asked, answer = self.world.kept["zopay answers"].get(name, (0.0, b"", None))
            if answer is None or self.world.now() - at >= REPLAYED_FOR_SECONDS:
                return await work(request)
            if asked != body:
                raise Refused(409, "The Idempotency-Key was used with another body", "idempotency_conflict")
            return JSONResponse(answer[1], answer[0])

        return self.endpoint(operation, repeated)

    async def _remember(self, operation: str, request: Request, answer: Document, status: int) -> Response:
        key = request.headers.get("idempotency-key")
        if key is not None:
            first = (self.world.now(), await request.body(), (status, answer))
            self.world.keep("zopay answers", f"{operation} {key}", first)
        return JSONResponse(answer, status)

    async def _quote(self, request: Request) -> Response:
        if "idempotency-key" not in request.headers:
            raise Refused(400, "The Idempotency-Key is missing", "idempotency_key_required")
        wish = read_quote(await read_json(request))
        quote_id = f"q_{digest(wish.fingerprint)}" if self._is_test() else f"q_{secrets.token_hex(16)}"
        seconds = max(SHORTEST_QUOTE_SECONDS, QUOTE_SECONDS / self.world.behaviour.speed)
        quote = Quote(quote_id, wish, self.world.now() + seconds)
        self.world.keep("zopay quotes", quote_id, quote)
        return await self._remember("quote", request, quote.document(), 200)

    async def _create(self, request: Request) -> Response:
        body = await read_json(request)
        quote_id = body.get("quote_id") if isinstance(body, dict) else None
        if not isinstance(quote_id, str) or not quote_id:
            raise Refused(400, "The quote_id is missing", "invalid_quote_id")
        quote = self.world.kept["zopay quotes"].get(quote_id)
        if quote is None:
            raise Refused(404, "There is no such quote", "quote_not_found")
        known = self._paid_before(quote)
        payout = known or self._pay(quote, request)
        answer = await self._remember("create", request, self._document(payout), 201)
        return answer if known else self.answer_or_hang_up("create", payout, answer)

    def _paid_before(self, quote: Quote) -> Payout | None:
        """Return the payout that a test quote has led to already. A live quote pays once, and only in time."""
        if quote.reference and not self._is_test():
            raise Refused(409, "The quote was used already", "quote_already_used")
        if quote.reference:
            return self.world.payouts[self.name].get(quote.reference)
        if self.world.now() >= quote.expires_at:
            raise Refused(409, "The quote has run out", "quote_expired")
        if quote.wish.is_beyond_means:
            raise Refused(422, "There are not enough funds", "insufficient_funds")
        return None

    def _pay(self, quote: Quote, request: Request) -> Payout:
        """Make the payout. What its caller calls it stands nowhere but in the Idempotency-Key."""
        wish = quote.wish
        quote.reference = f"pay_{digest(quote.quote_id) if self._is_test() else secrets.token_hex(10)}"
        order_key = request.headers.get("idempotency-key", quote.reference)
        extra = {"quote": shown_quote(quote)}
        payout = Payout(self.name, quote.reference, order_key, wish.amount, wish.asset, wish.external_ref, extra)
        self.admit(payout, "pending")
        self.begin(payout)
        return payout

    def _is_test(self) -> bool:
        return self.account.api_key.startswith("sk_test_")

    async def _get(self, request: Request) -> Response:
        return JSONResponse(self._document(self.payout(request.path_params["reference"], "There is no such payout")))


def _key_of(secret: str) -> bytes:
    """Return the key in `whsec_` and base64; a secret of another form is its own bytes."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return secret.encode()
