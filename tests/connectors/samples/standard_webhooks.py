"""Standard Webhooks: what Ratchet itself would send, and the words of another gateway."""

import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, PayoutUpdate
from models.lifecycle import PayoutStatus
from sandbox.signers import standard_webhooks
from tests.connectors.fakes import a_reply
from tests.connectors.sample import Sample, signed_by


def a_payout(**changes: Any) -> dict[str, Any]:
    """Return a payout as our own webhooks hold it."""
    return {
        "id": "pay_01JY",
        "reference": "pay_01JX",
        "status": "returned",
        "amount": "250.00",
        "currency": "EUR",
        "failure": {"code": "account_closed", "message": "The account is closed."},
        "previous_status": "delivered",
        "sequence": 5,
    } | changes


def an_event(payout: dict[str, Any], kind: str = "payout.returned") -> bytes:
    """Return an event with this payout."""
    return json.dumps({"type": kind, "timestamp": "2026-05-12T09:14:00Z", "data": payout}).encode()


SAMPLE = Sample(
    secret="whsec_aW52ZW50ZWQtc2VjcmV0LW9mLTMyLWJ5dGVzLWxvbmc=",
    other_secrets=("whsec_YW5vdGhlci1pbnZlbnRlZC1zZWNyZXQ=", "another!"),
    body=an_event(a_payout()),
    sign=signed_by(standard_webhooks.sign),
    signs_time=True,
    says=PayoutUpdate(
        reference="pay_01JY",
        order_key="pay_01JX",
        status=PayoutStatus.RETURNED,
        said="returned",
        occurred_at=datetime(2026, 5, 12, 9, 14, tzinfo=UTC),
        amount_minor=25000,
        currency="EUR",
        failure_code="account_closed",
        failure_message="The account is closed.",
    ),
    body_saying=lambda word: an_event(a_payout(status=word)),
    other_subject=an_event({"id": "inv_1"}, "invoice.paid"),
    account=Account(credentials={"api_key": "invented"}, options={"read_path": "/v1/payouts/{id}"}),
    fetched=a_reply(200, a_payout()),
)
