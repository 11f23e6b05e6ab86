"""Webhooks as PayCore sends them: real bodies, real signatures, every one distinct.

Payouts take turns, status by status, so that each webhook advances its payout by one step and owes one delivery.
"""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

SLUG: Final = "paycore-bench"
SECRET: Final = "a-webhook-secret-for-benchmarks"  # noqa: S105 (invented)
PATH: Final = f"/webhooks/{SLUG}"
AMOUNT_MINOR: Final = 100_050
CURRENCY: Final = "USD"
WORDS: Final = ("processing", "process_pending", "processed")
"""initiated, broadcast, delivered."""

_FIRST_AT: Final = 1_767_606_000
_BODY: Final = (
    '{"data":{"type":"payout-invoices","id":"%(reference)s","attributes":{"serial_number":"%(order_key)s",'
    '"status":"%(word)s","resolution":null,"moderation_required":false,"amount":1000.5,"payout_amount":1000.5,'
    '"currency":"USD","service_currency":"USD","reference_id":"%(order_key)s","description":"May run",'
    '"test_mode":false,"fee":0,"writeoff":1000.5,"processed":%(processed)s,"processed_amount":%(arrived)s,'
    '"fields":[],"metadata":[],"callback_url":"https:\\/\\/hooks.example.test\\/paycore","created":1767606000,'
    '"updated":%(updated)d}}}'
)


@dataclass(frozen=True, slots=True)
class Webhook:
    """One step of one payout."""

    payout: int
    step: int

    @property
    def key(self) -> tuple[str, str]:
        """Return what names the resulting event: order key, and the status in our words."""
        return order_key(self.payout), ("initiated", "broadcast", "delivered")[self.step]

    def body(self) -> bytes:
        """Return the body."""
        is_over = self.step == len(WORDS) - 1
        facts = {
            "reference": reference(self.payout),
            "order_key": order_key(self.payout),
            "word": WORDS[self.step],
            "processed": _FIRST_AT if is_over else "null",
            "arrived": "1000.5" if is_over else "0",
            "updated": _FIRST_AT + self.step,
        }
        return (_BODY % facts).encode()

    def request(self) -> bytes:
        """Return the whole HTTP request, signed."""
        body = self.body()
        signature = b64encode(sha1(SECRET.encode() + body + SECRET.encode(), usedforsecurity=False).digest())
        head = (
            b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: PayCore\r\nAccept: */*\r\n"
            b"Content-Type: application/json\r\nX-Signature: %s\r\nContent-Length: %d\r\n\r\n"
        )
        return head % (PATH.encode(), signature, len(body)) + body


def webhooks(payouts: int, first: int = 0) -> Iterator[Webhook]:
    """Yield three webhooks for each of so many payouts: all first steps, then all second ones, then all last ones."""
    for step in range(len(WORDS)):
        for payout in range(first, first + payouts):
            yield Webhook(payout, step)


def reference(payout: int) -> str:
    """Return the gateway's id of a payout."""
    return f"cpoi_{payout:012d}"


def order_key(payout: int) -> str:
    """Return our key of a payout."""
    return f"order-{payout:08d}"
