"""ZoPay: a payout that the chain has confirmed."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, Order, PayoutUpdate
from models.lifecycle import PayoutStatus
from tests.connectors.fakes import a_reply
from tests.connectors.sample import Headers, Sample

QUOTE = {
    "quote_id": "q_01J",
    "user_sends": "100.00",
    "recipient_gets": "99.20",
    "fee_total_usd": "0.80",
    "route": {"from_network": "tron", "to_network": "tron", "estimated_seconds": 90},
}


def a_quote(**changes: Any) -> dict[str, Any]:
    """Return the answer to POST /payouts/quote."""
    more = {"expires_at": "2026-01-05T10:01:00Z", "recommendation": None, "insufficient_funds": None}
    return QUOTE | more | changes


def a_payout(**changes: Any) -> dict[str, Any]:
    """Return a payout object as the API prints it."""
    return {
        "id": "pay_7QmT2",
        "status": "delivered",
        "quote": QUOTE,
        "estimated_delivery_at": "2026-01-05T10:01:30Z",
        "tracking_url": "https://track.zopay.cash/pay_7QmT2",
    } | changes


def an_event(payout: object, **changes: Any) -> bytes:
    """Return an event with this payout."""
    event = {"id": "evt_4", "type": "payout.delivered", "created_at": "2026-01-05T10:01:20Z", "data": payout}
    return json.dumps(event | changes).encode()


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign by Standard Webhooks: id, time and body, each behind a dot."""
    time = str(int(at.timestamp())).encode()
    key = base64.b64decode(secret.removeprefix("whsec_"))
    seal = hmac.new(key, b"evt_4." + time + b"." + body, hashlib.sha256).digest()
    return [
        (b"webhook-id", b"evt_4"),
        (b"webhook-timestamp", time),
        (b"webhook-signature", b"v1," + base64.b64encode(seal)),
    ]


SAMPLE = Sample(
    secret="whsec_" + base64.b64encode(b"an invented key of 32 bytes, so.").decode(),
    other_secrets=("whsec_" + base64.b64encode(b"another one, of 24 bytes").decode(), "invented"),
    body=an_event(a_payout()),
    sign=sign,
    signs_time=True,
    says=PayoutUpdate(
        reference="pay_7QmT2",
        status=PayoutStatus.DELIVERED,
        said="delivered",
        occurred_at=datetime(2026, 1, 5, 10, 1, 20, tzinfo=UTC),
        estimated_delivery_at=datetime(2026, 1, 5, 10, 1, 30, tzinfo=UTC),
    ),
    body_saying=lambda word: an_event(a_payout(status=word)),
    other_subject=an_event({"id": "addr_1"}, id="evt_5", type="address.created"),
    account=Account(credentials={"secret_key": "sk_live_invented"}),
    order=Order(
        order_key="pay_01JX",
        amount_minor=100_000_000,
        currency="USDT",
        description="May run",
        details={"external_ref": "user-7", "destination": "TXinvented"},
    ),
    accepted=[a_reply(200, a_quote()), a_reply(201, a_payout(status="pending"))],
    moves_from=1,
    replays=2,
)
