"""FedaPay: a mobile money payout that was sent."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, Order, PayoutUpdate
from models.lifecycle import PayoutStatus
from tests.connectors.fakes import a_reply
from tests.connectors.sample import Headers, Sample


def a_payout(**changes: Any) -> dict[str, Any]:
    """Return a payout object as the API prints it."""
    return {
        "klass": "v1/payout",
        "id": 1377,
        "reference": "1767606022123",
        "amount": 2000,
        "status": "sent",
        "currency_id": 1,
        "mode": "mtn",
        "merchant_reference": "pay_01JX",
        "last_error_code": None,
        "last_error_message": None,
        "amount_transferred": 1960,
        "created_at": "2026-01-05T09:40:00.000Z",
        "updated_at": "2026-01-05T09:41:07.816Z",
        "sent_at": "2026-01-05T09:41:07.803Z",
        "deleted_at": None,
    } | changes


def an_event(entity: object, **changes: Any) -> bytes:
    """Return an event with this entity."""
    event = {
        "id": 904213,
        "klass": "v1/event",
        "name": "payout.sent",
        "object_id": 1377,
        "entity": entity,
        "created_at": "2026-01-05T09:41:08.000Z",
    }
    return json.dumps(event | changes).encode()


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign as FedaPay does: time, dot, body."""
    time = str(int(at.timestamp())).encode()
    seal = hmac.new(secret.encode(), time + b"." + body, hashlib.sha256).hexdigest().encode()
    return [(b"x-fedapay-signature", b"t=" + time + b",s=" + seal)]


SAMPLE = Sample(
    secret="wh_live_invented",
    body=an_event(a_payout()),
    sign=sign,
    signs_time=True,
    says=PayoutUpdate(
        reference="1377",
        order_key="pay_01JX",
        status=PayoutStatus.DELIVERED,
        said="sent",
        occurred_at=datetime(2026, 1, 5, 9, 41, 7, 816000, tzinfo=UTC),
        amount_minor=2000,
        currency="XOF",
        costs={"amount_transferred": 1960},
    ),
    body_saying=lambda word: an_event(a_payout(status=word)),
    other_subject=an_event({"klass": "v1/transaction", "id": 7}, name="transaction.approved", object_id=7),
    account=Account(credentials={"secret_key": "sk_live_invented"}),
    order=Order(
        order_key="pay_01JX",
        amount_minor=2000,
        currency="XOF",
        description="May run",
        details={"customer": {"id": 5}, "mode": "mtn"},
    ),
    accepted=[
        a_reply(201, {"v1/payout": a_payout(status="pending", sent_at=None)}),
        a_reply(200, {"v1/payouts": [a_payout(status="started", sent_at=None)]}),
    ],
)
