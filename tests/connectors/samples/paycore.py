"""PayCore: a payout invoice, written as PHP writes it."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, Order, PayoutUpdate
from models.lifecycle import PayoutStatus
from tests.connectors.fakes import a_reply
from tests.connectors.sample import Headers, Sample


def an_invoice(**changes: Any) -> dict[str, Any]:
    """Return a payout invoice as a JSON:API resource; `changes` are attributes."""
    attributes = {
        "status": "processed",
        "resolution": "ok",
        "amount": 1000.5,
        "currency": "USD",
        "reference_id": "pay_01JX",
        "test_mode": False,
        "processed": 1767606090,
        "processed_amount": 1000.5,
        "fields": [],
        "metadata": [],
        "callback_url": "https://hooks.example.test/paycore",
        "created": 1767606000,
        "updated": 1767606091,
    }
    return {"type": "payout-invoices", "id": "cpoi_Q2m8Yx0bTnR4kLz7", "attributes": attributes | changes}


def a_callback(resource: dict[str, Any]) -> bytes:
    """Return a callback's body, slashes escaped."""
    return json.dumps({"data": resource}, separators=(",", ":")).replace("/", "\\/").encode()


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign as PayCore does: base64 of SHA-1 over secret, body, secret."""
    del at
    digest = hashlib.sha1(secret.encode() + body + secret.encode()).digest()  # noqa: S324 - the gateway's scheme
    return [(b"x-signature", base64.b64encode(digest))]


SAMPLE = Sample(
    secret="sk_live_invented",
    body=a_callback(an_invoice()),
    sign=sign,
    says=PayoutUpdate(
        reference="cpoi_Q2m8Yx0bTnR4kLz7",
        order_key="pay_01JX",
        status=PayoutStatus.DELIVERED,
        said="processed",
        occurred_at=datetime(2026, 1, 5, 9, 41, 31, tzinfo=UTC),
        amount_minor=100050,
        currency="USD",
        processed_amount_minor=100050,
    ),
    body_saying=lambda word: a_callback(an_invoice(status=word, processed=None, processed_amount=725.25)),
    other_subject=a_callback({"type": "payment-invoices", "id": "cpi_1", "attributes": {"status": "processed"}}),
    account=Account(credentials={"account_id": "coma_invented", "api_key": "sk_live_invented_key"}),
    order=Order(
        order_key="pay_01JX",
        amount_minor=100050,
        currency="USD",
        description="May run",
        details={"service": "payment_card_usd", "fields": {"card_number": "4111111111111111"}},
    ),
    accepted=[a_reply(201, {"data": an_invoice(status="created", processed=None, processed_amount=0)})],
)
