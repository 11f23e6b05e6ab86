"""BridgerPay's payouts: wrapped answers whose code counts, logins that run out, a list that lags, unproven news.

https://developers.bridgerpay.com/docs/payouts and https://developers.bridgerpay.com/docs/notifications. It documents no
signature: an account with a webhook secret has its news signed by the convention that Slate and Ratchet assume, one
without sends it bare. That an `order_id` sent twice is paid twice is assumed, and so are the retry times.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.answers import Document, Refused, read_json
from sandbox.bridgerpay_requests import Filter, read_filter, read_order
from sandbox.gateway import Gateway
from sandbox.signers.bridgerpay import sign
from sandbox.stories import draw
from sandbox.world import Payout, iso

VERSIONS: Final = frozenset({"v1", "v2"})
ANNOUNCED: Final = frozenset({"approved", "declined", "refunded"})
"""What there is news of. The statuses before them are only to be asked for."""
DECLINES: Final = {"do_not_honor": "The bank refused it."}


class BridgerPay(Gateway):
    """https://api-sandbox.bridgerpay.com."""

    name = "bridgerpay"
    MEANINGS: ClassVar[Mapping[str, str]] = {
        "pending": "initiated",
        "in_process": "initiated",
        "approved": "delivered",
        "declined": "failed",
        "refunded": "failed",
    }
    STORIES: ClassVar[Mapping[str, Sequence[str]]] = {
        "delivered": ("in_process", "approved"),
        "failed": ("in_process", "declined:do_not_honor"),
        "returned": ("in_process", "approved", "refunded"),
        "stuck": ("in_process",),
    }
    WAITS = (60, 300, 900, 3600)

    def routes(self) -> list[BaseRoute]:
        """Return the API below the base URL; the merchant's key is a part of the path."""
        payouts = "/{version}/{key}/payouts"
        return [
            Route("/{version}/auth/login", self.endpoint("login", self._login), methods=["POST"]),
            Route(payouts, self.endpoint("create", self._create), methods=["POST"]),
            Route(payouts, self.endpoint("list", self._list), methods=["GET"]),
            Route(f"{payouts}/metadata", self.endpoint("metadata", self._metadata), methods=["GET"]),
        ]

    # --- signature

    def sign(self, secret: str, body: bytes, signed_at: int) -> dict[str, str]:
        """Return the HMAC of the raw body, in hex; nothing where no secret was agreed."""
        return dict(sign(body, secret, signed_at))

    # --- bodies

    def webhooks(self, payout: Payout) -> list[bytes]:
        """Return the news of the present status, and now and then that of somebody's deposit before it."""
        if payout.native not in ANNOUNCED:
            return []
        rng = draw(self.world.seed, "deposit", self.name, payout.order_key, payout.webhooks_made)
        news = [self._news(payout, payout.native)]
        return [self._deposit(), *news] if rng.random() < self.world.behaviour.bridgerpay_deposits else news

    def forgery(self, payout: Payout) -> bytes:
        """Return news that claims the opposite of the truth."""
        return self._news(payout, "approved" if payout.native == "declined" else "declined")

    def _news(self, payout: Payout, kind: str) -> bytes:
        charge = {
            "id": payout.extra["charge"],
            "operation_type": "payout",
            "attributes": {
                "live_mode": False,
                "amount": float(payout.amount),
                "status": kind,
                "currency": payout.currency,
                "decline_code": payout.reason or None,
                "decline_reason": DECLINES.get(payout.reason),
                "reference_id": None,
                "created_at": int(payout.history[0].at),
                "updated_at": 0 if kind == "approved" else int(payout.history[-1].at),
                "source": {"email": "a@example.test", "ip_address": "127.0.0.1", "name": "A B"},
            },
        }
        return self._notification(kind, payout.order_key, charge)

    def _deposit(self) -> bytes:
        charge = {
            "id": secrets.token_hex(4),
            "operation_type": "deposit",
            "attributes": {"live_mode": False, "amount": 12.34, "status": "approved", "currency": "EUR"},
        }
        return self._notification("approved", f"deposit_{secrets.token_hex(4)}", charge)

    def _notification(self, kind: str, order_id: str, charge: Document) -> bytes:
        known = {"type": kind, "uuid": secrets.token_hex(16), "psp_order_id": secrets.token_hex(3)}
        meta = {"server_time": int(self.world.now()), "server_timezone": "UTC", "api_version": "2.0", "payload": None}
        news = {
            "webhook": {"type": kind},
            "data": {"order_id": order_id, "psp_name": "sandbox", "charge": {**known, **charge}},
            "meta": {**meta, "cashier_session_id": "", "platform_id": None},
        }
        return json.dumps(news, separators=(",", ":")).encode()

    def problem(self, refused: Refused) -> Response:
        """Write an error: its code in the envelope, and in HTTP too unless it is one of those that hide in a 200."""
        result: Any = None
        if refused.field:
            result = [{"type": "validaton_error", "field": refused.field, "message": refused.detail}]
        is_soft = self.world.chance.random() < self.world.behaviour.bridgerpay_soft_errors
        is_hidden = is_soft and refused.status < HTTPStatus.INTERNAL_SERVER_ERROR
        return _wrapped(result, refused.status, refused.detail, 200 if is_hidden else refused.status)

    def _result(self, payout: Payout) -> Document:
        return {
            "payout_method": payout.extra["payout_method_type"],
            "html": None,
            "is_decoded": False,
            "id": payout.reference,
            "transaction_id": payout.extra["charge"],
            "amount": float(payout.amount),
            "processing_date": _date(payout.history[0].at),
            "failure_code": payout.reason or None,
            "status": _capitalised(payout.native),
            "currency": payout.currency,
        }

    def _record(self, payout: Payout) -> Document:
        return {
            "id": payout.reference,
            "transaction_id": payout.extra["charge"],
            "psp_name": payout.extra["provider"],
            "psp_order_id": None,
            "merchant_order_id": payout.order_key,
            "order_description": payout.description or None,
            "country": payout.extra["country"],
            "amount": float(payout.amount),
            "currency": payout.currency,
            "payout_method_type": _capitalised(payout.extra["payout_method_type"]),
            "decline_reason": DECLINES.get(payout.reason),
            "decline_code": payout.reason or None,
            "status": _capitalised(payout.native),
            "processing_date": _date(payout.history[0].at),
            "processing_date_timestamp": int(payout.history[0].at),
            "psp_response_json": None,
        }

    # --- calls

    def is_known(self, request: Request) -> bool:
        """Tell whether the path holds the account's key and the token is still good; a login has neither yet."""
        if request.path_params["version"] not in VERSIONS:
            return False
        if "key" not in request.path_params:
            return True
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        expires_at: float = self.world.kept["bridgerpay tokens"].get(token, 0.0)
        return bool(request.path_params["key"] == self.account.api_key and self.world.now() < expires_at)

    async def _login(self, request: Request) -> Response:
        body = await read_json(request)
        given = (body.get("user_name"), body.get("password")) if isinstance(body, dict) else (None, None)
        if not self.account.password or given != (self.account.account_id, self.account.password):
            raise Refused(401, "Wrong user name or password")
        token, seconds = secrets.token_urlsafe(48), self.world.behaviour.bridgerpay_token_seconds
        self.world.keep("bridgerpay tokens", token, self.world.now() + seconds)
        refresh = {"token": secrets.token_urlsafe(48), "expires_in": 86_400}
        return _wrapped({"access_token": {"token": token, "expires_in": int(seconds)}, "refresh_token": refresh})

    async def _create(self, request: Request) -> Response:
        order = read_order(await read_json(request))
        charge = secrets.token_hex(4)
        payout = Payout(
            self.name,
            secrets.token_hex(4),
            order.order_id,
            order.amount,
            order.currency,
            order.description,
            order.extra,
        )
        rng = draw(self.world.seed, "shown", self.name, order.order_id)
        hidden_seconds = rng.uniform(*self.world.behaviour.bridgerpay_shown_after_seconds)
        payout.extra |= {"charge": charge, "shown_at": self.world.now() + hidden_seconds}
        self.admit(payout, "pending")
        self.begin(payout)
        return self.answer_or_hang_up("create", payout, _wrapped(self._result(payout)))

    async def _list(self, request: Request) -> Response:
        asked = read_filter(request.query_params)
        payouts = [payout for payout in self.world.payouts[self.name].values() if self._is_asked(payout, asked)]
        if asked.newest_first:
            payouts.reverse()
        page = payouts[(asked.page - 1) * asked.limit : asked.page * asked.limit]
        return _wrapped({"next_page_cursor": None, "records": [self._record(payout) for payout in page]})

    def _is_asked(self, payout: Payout, asked: Filter) -> bool:
        return (
            self.world.now() >= payout.extra["shown_at"]
            and asked.order_id in {None, payout.order_key}
            and asked.status in {None, payout.native}
        )

    async def _metadata(self, request: Request) -> Response:
        del request
        field = {"name": "bankAccountNumber", "title": "Account number", "type": "string", "required": True}
        provider = {"name": "sandbox", "title": "Sandbox", "payout_method_type": "bank_account", "fields": [field]}
        return _wrapped({"providers": [provider]})


def _wrapped(result: Any, code: int = 200, message: str = "OK", status: int = 200) -> Response:
    word = "OK" if code == HTTPStatus.OK else HTTPStatus(code).phrase
    document = {"response": {"status": word, "code": code, "message": message}}
    return JSONResponse(document if result is None else {**document, "result": result}, status)


def _capitalised(word: str) -> str:
    """Write a word as objects show it: `in_process` is `InProcess`."""
    return "".join(part.capitalize() for part in word.split("_"))


def _date(at: float) -> str:
    """Write a time as BridgerPay does: without its zone."""
    return iso(at)[:19].replace("T", " ")
