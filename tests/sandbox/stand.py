"""A running sandbox and a receiver of its webhooks, both in threads, and the words to talk to them."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import requests
import uvicorn

from sandbox.app import create_app

KEYS: Final = {
    "mollie": "test_key",
    "fedapay": "sk_sandbox_key",
    "paycore": "sk_test_key",
    "zopay": "sk_live_key",
    "bridgerpay": "key-in-the-path",
}
MORE: Final = {"paycore": {"account_id": "coma_1"}, "bridgerpay": {"account_id": "a@example.test", "password": "pass"}}
SECRETS: Final = {name: f"secret-of-{name}" for name in KEYS}
BASES: Final = {
    "mollie": "/mollie/v2/payouts",
    "fedapay": "/fedapay/v1/payouts",
    "paycore": "/paycore/api/payout-invoices",
    "zopay": "/zopay/connect/v1/payouts",
    "bridgerpay": f"/bridgerpay/v2/{KEYS['bridgerpay']}/payouts",
}
NAMES_OF_KEY: Final = {"fedapay": "merchant_reference", "paycore": "reference_id", "bridgerpay": "order_id"}
"""What a gateway calls the caller's own key."""
ORDERS: Final[dict[str, dict[str, Any]]] = {
    "mollie": {"balanceId": "bal_1", "amount": {"currency": "EUR", "value": "250.00"}},
    "fedapay": {"amount": 2000, "currency": {"iso": "XOF"}, "mode": "mtn"},
    "paycore": {"amount": 12.5, "currency": "USD", "service": "payment_card_usd", "fields": {}},
    "zopay": {"destination": "TXinvented", "asset": "USDT", "amount": "100.00"},
    "bridgerpay": {
        "provider": "sandbox",
        "country": "BE",
        "currency": "EUR",
        "amount": 250.5,
        "payout_method_type": "bank_account",
        "metadata": {},
    },
}
LIMIT_SECONDS: Final = 15


def wait_until(claim: Callable[[], bool]) -> None:
    """Return as soon as the claim is true; fail when it never is."""
    give_up_at = time.monotonic() + LIMIT_SECONDS
    while not claim():
        assert time.monotonic() < give_up_at, "the claim never came true"
        time.sleep(0.005)


@dataclass
class Received:
    """One request that reached the receiver."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Somebody who waits for webhooks and answers as `answer` says."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answer: Callable[[Received, int], int] = lambda _request, _nth: 200
    """Given the request and how many came before it."""


@contextlib.contextmanager
def a_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            request = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            status = receiver.answer(request, len(receiver.received))
            receiver.received.append(request)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.send_header("Location", f"{receiver.url}/elsewhere")  # means something only with 3xx
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield receiver
    server.shutdown()
    thread.join(LIMIT_SECONDS)
    server.server_close()


@dataclass
class Clock:
    """The sandbox's clock: the real one, moved on by hand."""

    ahead_seconds: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_seconds


@dataclass
class Stand:
    """A running sandbox."""

    url: str
    clock: Clock

    def control(self, method: str, path: str, body: object = None) -> requests.Response:
        return requests.request(method, f"{self.url}/_sandbox{path}", json=body, timeout=LIMIT_SECONDS)

    def behave(self, **wishes: object) -> None:
        assert self.control("PUT", "/behaviour", wishes).status_code == 200

    def stats(self) -> Any:
        return self.control("GET", "/stats").json()

    def webhooks(self) -> Any:
        return self.stats()["webhooks"]

    def truth(self) -> list[Any]:
        payouts: list[Any] = self.control("GET", "/truth").json()["payouts"]
        return payouts

    def wait_until_idle(self) -> None:
        wait_until(lambda: bool(self.stats()["is_idle"]))

    def ask(self, gateway: str, method: str, path: str = "", body: object = None, **headers: str) -> requests.Response:
        """Call the gateway's payouts with its right key, unless the headers hold another."""
        auth = ("coma_1", KEYS["paycore"]) if gateway == "paycore" else None
        if gateway == "bridgerpay" and "Authorization" not in headers:
            login = self.log_in()
            if login.status_code != 200:
                return login
            headers = {"Authorization": f"Bearer {login.json()['result']['access_token']['token']}", **headers}
        elif gateway != "paycore":
            headers = {"Authorization": f"Bearer {KEYS[gateway]}", **headers}
        url = f"{self.url}{BASES[gateway]}{path}"
        return requests.request(method, url, json=body, headers=headers, auth=auth, timeout=LIMIT_SECONDS)

    def log_in(self, password: str = MORE["bridgerpay"]["password"]) -> requests.Response:
        """Log in at BridgerPay, the one gateway whose key is not enough."""
        login = {"user_name": MORE["bridgerpay"]["account_id"], "password": password}
        return requests.post(f"{self.url}/bridgerpay/v2/auth/login", json=login, timeout=LIMIT_SECONDS)

    def create(self, gateway: str, order_key: str, words: str = "", **more: object) -> requests.Response:
        """Create a payout whose description holds steering words."""
        body = {**ORDERS[gateway], "description": f"{order_key} {words}".strip(), **more}
        if gateway == "mollie":
            return self.ask(gateway, "POST", "", body, **{"Idempotency-Key": order_key})
        if gateway == "zopay":
            return self._create_by_quote(order_key, words, **more)
        if gateway == "bridgerpay":
            body["order_description"] = body.pop("description")
        return self.ask(gateway, "POST", "", {NAMES_OF_KEY[gateway]: order_key, **body})

    def quote(self, order_key: str, words: str = "", **more: object) -> requests.Response:
        """Ask ZoPay for a quote."""
        body = {**ORDERS["zopay"], "external_ref": f"user-7 {words}".strip(), **more}
        return self.ask("zopay", "POST", "/quote", body, **{"Idempotency-Key": f"{order_key}-quote"})

    def _create_by_quote(self, order_key: str, words: str, **more: object) -> requests.Response:
        quoted = self.quote(order_key, words, **more)
        if quoted.status_code != 200:
            return quoted
        wish = {"quote_id": quoted.json()["quote_id"]}
        return self.ask("zopay", "POST", "", wish, **{"Idempotency-Key": order_key})

    def pay(self, gateway: str, order_key: str, words: str = "") -> str:
        """Create a payout, start it where that is a step of its own, and return the gateway's reference."""
        answer = self.create(gateway, order_key, words)
        assert answer.status_code == (200 if gateway == "bridgerpay" else 201), answer.text
        body = answer.json()
        if gateway == "bridgerpay":
            return str(body["result"]["id"])
        if gateway in {"mollie", "zopay"}:
            return str(body["id"])
        if gateway == "paycore":
            return str(body["data"]["id"])
        reference = body.get("v1/payout", body)["id"]
        assert self.ask(gateway, "PUT", "/start", {"payouts": [{"id": reference}]}).status_code == 200
        return str(reference)


@contextlib.contextmanager
def a_sandbox(seed: int = 7) -> Iterator[Stand]:
    clock = Clock()
    config = uvicorn.Config(create_app(seed, clock), http="httptools", ws="none", log_level="warning")
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        yield Stand(f"http://127.0.0.1:{listening.getsockname()[1]}", clock)
        server.should_exit = True
        thread.join(LIMIT_SECONDS)


def configure(stand: Stand, webhook_url: str) -> None:
    """Give every gateway its key, and one receiver for all their webhooks."""
    for name, key in KEYS.items():
        wishes = {"api_key": key, "webhook_secret": SECRETS[name], "webhook_url": f"{webhook_url}/{name}"}
        wishes |= MORE.get(name, {})
        assert stand.control("PUT", f"/gateways/{name}", wishes).status_code == 200
    stand.behave(speed=100, fates={"delivered": 1})
