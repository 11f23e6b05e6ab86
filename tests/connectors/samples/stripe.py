"""Stripe: a payout that the bank did not take after all."""

import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, PayoutUpdate
from models.lifecycle import PayoutStatus
from sandbox.signers import stripe
from tests.connectors.fakes import a_reply
from tests.connectors.sample import Sample, signed_by


def a_payout(**changes: Any) -> dict[str, Any]:
    """Return a payout object as the API prints it."""
    return {
        "id": "po_1QmX3kLkdIwHu7ix8T2vN5Yb",
        "object": "payout",
        "amount": 25000,
        "arrival_date": 1778716800,
        "automatic": False,
        "balance_transaction": "txn_1QmX3kLkdIwHu7ixpQ0",
        "created": 1778490000,
        "currency": "eur",
        "destination": "ba_1QmX3kLkdIwHu7ix",
        "failure_code": "account_closed",
        "failure_message": "The bank account has been closed.",
        "livemode": True,
        "metadata": {"order_key": "pay_01JX"},
        "method": "standard",
        "status": "failed",
        "type": "bank_account",
    } | changes


def an_event(subject: dict[str, Any], **changes: Any) -> bytes:
    """Return an event with this object."""
    event = {
        "id": "evt_1QmX9aLkdIwHu7ixVb3",
        "object": "event",
        "api_version": "2026-04-22",
        "created": 1778577240,
        "data": {"object": subject},
        "livemode": True,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "payout.failed",
    }
    return json.dumps(event | changes, indent=2).encode()


SAMPLE = Sample(
    secret="whsec_invented",
    body=an_event(a_payout()),
    sign=signed_by(stripe.sign),
    signs_time=True,
    says=PayoutUpdate(
        reference="po_1QmX3kLkdIwHu7ix8T2vN5Yb",
        order_key="pay_01JX",
        status=PayoutStatus.FAILED,
        said="failed",
        occurred_at=datetime(2026, 5, 12, 9, 14, tzinfo=UTC),
        amount_minor=25000,
        currency="EUR",
        failure_code="account_closed",
        failure_message="The bank account has been closed.",
        estimated_delivery_at=datetime(2026, 5, 14, tzinfo=UTC),
    ),
    body_saying=lambda word: an_event(a_payout(status=word)),
    other_subject=an_event({"id": "ch_1", "object": "charge"}, id="evt_2", type="charge.succeeded"),
    account=Account(credentials={"secret_key": "sk_live_invented"}),
    fetched=a_reply(200, a_payout()),
)
