"""RazorpayX: a processed payout."""

import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, PayoutUpdate
from models.lifecycle import PayoutStatus
from sandbox.signers import razorpay
from tests.connectors.fakes import a_reply
from tests.connectors.sample import Sample, signed_by


def a_payout(**changes: Any) -> dict[str, Any]:
    """Return a payout entity as the API prints it."""
    return {
        "id": "pout_Qx8Kc2Lm0vTn4R",
        "entity": "payout",
        "fund_account_id": "fa_Qx8Kb1Zy7pWd3S",
        "amount": 1250050,
        "currency": "INR",
        "notes": [],
        "fees": 590,
        "tax": 90,
        "status": "processed",
        "utr": "000123456789",
        "mode": "IMPS",
        "purpose": "payout",
        "reference_id": "pay_01JX",
        "narration": "May run",
        "batch_id": None,
        "status_details": {"description": "Payout is processed.", "source": "beneficiary_bank", "reason": "processed"},
        "created_at": 1778577000,
    } | changes


def an_event(payout: dict[str, Any], **changes: Any) -> bytes:
    """Return an event with this payout."""
    event = {
        "entity": "event",
        "account_id": "acc_BFQ7uQEaa7j2z7",
        "event": "payout.processed",
        "contains": ["payout"],
        "payload": {"payout": {"entity": payout}},
        "created_at": 1778577240,
    }
    return json.dumps(event | changes, separators=(",", ":")).encode()


SAMPLE = Sample(
    secret="invented_razorpay_secret",
    body=an_event(a_payout()),
    sign=signed_by(razorpay.sign),
    says=PayoutUpdate(
        reference="pout_Qx8Kc2Lm0vTn4R",
        order_key="pay_01JX",
        status=PayoutStatus.DELIVERED,
        said="processed",
        occurred_at=datetime(2026, 5, 12, 9, 14, tzinfo=UTC),
        amount_minor=1250050,
        currency="INR",
    ),
    body_saying=lambda word: an_event(a_payout(status=word)),
    other_subject=an_event({}, event="payment.captured", payload={"payment": {"entity": {"id": "pay_1"}}}),
    account=Account(credentials={"key_id": "rzp_live_invented", "key_secret": "invented"}),
    fetched=a_reply(200, a_payout()),
)
