"""Mollie: a full payload whose bank sent the money back."""

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
        "resource": "payout",
        "id": "payout_8KfTqJ5rWc2nVbXz3MhLe",
        "balanceId": "bal_3kUf4yU2nT",
        "amount": {"currency": "EUR", "value": "250.00"},
        "description": "May run [pay_01JX]",
        "status": "failed",
        "statusReason": {"code": "returned", "message": "The bank sent the money back."},
        "createdAt": "2026-05-10T08:00:00+00:00",
        "initiatedAt": "2026-05-11T06:00:01+00:00",
        "completedAt": "2026-05-11T12:30:00+02:00",
        "canceledAt": None,
        "mode": "live",
    } | changes


def an_event(entity: dict[str, Any] | None, **changes: Any) -> bytes:
    """Return an event with its entity (full payload) or without (simple payload)."""
    event = {
        "resource": "event",
        "id": "event_Hq3pT8mZ2vYwK9sLx4NbC",
        "type": "payout.failed",
        "entityId": "payout_8KfTqJ5rWc2nVbXz3MhLe",
        "createdAt": "2026-05-12T09:14:03+00:00",
        "_embedded": {"entity": entity} if entity is not None else None,
        "_links": {"entity": {"href": "/v2/payouts/payout_8KfTqJ5rWc2nVbXz3MhLe", "type": "application/hal+json"}},
    }
    return json.dumps(event | changes).encode()


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign as Mollie does: no time."""
    del at
    return [(b"x-mollie-signature", b"sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode())]


SAMPLE = Sample(
    secret="invented_mollie_secret",
    body=an_event(a_payout()),
    sign=sign,
    says=PayoutUpdate(
        reference="payout_8KfTqJ5rWc2nVbXz3MhLe",
        order_key="pay_01JX",
        status=PayoutStatus.RETURNED,
        said="failed",
        occurred_at=datetime(2026, 5, 12, 9, 14, 3, tzinfo=UTC),
        amount_minor=25000,
        currency="EUR",
        failure_code="returned",
        failure_message="The bank sent the money back.",
    ),
    body_saying=lambda word: an_event(a_payout(status=word, statusReason={"code": "failed", "message": None})),
    other_subject=an_event(None, id="event_Wx2", type="payment-link.paid", entityId="pl_qng5gbbv8NAZ5gpM5"),
    account=Account(credentials={"api_key": "live_invented"}),
    order=Order(
        order_key="pay_01JX",
        amount_minor=25000,
        currency="EUR",
        description="May run",
        details={"balanceId": "bal_3kUf4yU2nT"},
    ),
    accepted=[a_reply(201, a_payout(status="requested", statusReason={"code": "requested", "message": None}))],
)
