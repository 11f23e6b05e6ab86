"""Modern Treasury: a payment order that the bank took."""

import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, PayoutUpdate
from models.lifecycle import PayoutStatus
from sandbox.signers import modern_treasury
from tests.connectors.fakes import a_reply
from tests.connectors.sample import Sample, signed_by


def an_order(**changes: Any) -> dict[str, Any]:
    """Return a payment order as the API prints it."""
    return {
        "id": "3f0c6a34-7d0d-4a55-9d0b-55a1f0d9c1e2",
        "object": "payment_order",
        "live_mode": True,
        "type": "ach",
        "direction": "credit",
        "amount": 25000,
        "currency": "USD",
        "status": "completed",
        "metadata": {"order_key": "pay_01JX"},
        "current_return": None,
        "created_at": "2026-05-11T08:00:00Z",
        "updated_at": "2026-05-12T09:14:00Z",
    } | changes


def an_event(subject: dict[str, Any], event: str = "completed") -> bytes:
    """Return an event with this object."""
    return json.dumps({"event": event, "data": subject}).encode()


SAMPLE = Sample(
    secret="invented_webhook_key",
    body=an_event(an_order()),
    sign=signed_by(modern_treasury.sign),
    says=PayoutUpdate(
        reference="3f0c6a34-7d0d-4a55-9d0b-55a1f0d9c1e2",
        order_key="pay_01JX",
        status=PayoutStatus.DELIVERED,
        said="completed",
        occurred_at=datetime(2026, 5, 12, 9, 14, tzinfo=UTC),
        amount_minor=25000,
        currency="USD",
    ),
    body_saying=lambda word: an_event(an_order(status=word), word),
    other_subject=an_event({"id": "1d7c", "object": "incoming_payment_detail"}, "created"),
    account=Account(credentials={"organization_id": "org_invented", "api_key": "live_invented"}),
    fetched=a_reply(200, an_order()),
)
