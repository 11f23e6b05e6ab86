"""Cashfree: a transfer of version 2 that the beneficiary's bank confirmed."""

import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, PayoutUpdate
from models.lifecycle import PayoutStatus
from sandbox.signers import cashfree
from tests.connectors.fakes import a_reply
from tests.connectors.sample import Sample, signed_by


def a_transfer(**changes: Any) -> dict[str, Any]:
    """Return a transfer as webhooks and the API print it."""
    return {
        "transfer_id": "pay_01JX",
        "cf_transfer_id": "123456",
        "status": "SUCCESS",
        "status_code": "COMPLETED",
        "beneficiary_details": {"beneficiary_id": "bene_1"},
        "transfer_amount": 1000.5,
        "transfer_service_charge": 1,
        "transfer_service_tax": 0.18,
        "transfer_mode": "BANK",
        "transfer_utr": "N000000000000001",
        "fundsource_id": "CASHFREE_1",
    } | changes


def an_event(data: dict[str, Any], kind: str = "TRANSFER_SUCCESS") -> bytes:
    """Return an event with this transfer."""
    return json.dumps({"data": data, "event_time": "2026-05-12T14:44:00", "type": kind}).encode()


SAMPLE = Sample(
    secret="cfsk_invented",
    body=an_event(a_transfer()),
    sign=signed_by(cashfree.sign),
    signs_time=True,
    says=PayoutUpdate(
        reference="123456",
        order_key="pay_01JX",
        status=PayoutStatus.DELIVERED,
        said="TRANSFER_SUCCESS",
        occurred_at=datetime(2026, 5, 12, 9, 14, tzinfo=UTC),
        amount_minor=100050,
        currency="INR",
    ),
    body_saying=lambda word: an_event(a_transfer(status_code=None), word),
    other_subject=an_event({"event_id": 1}, "CREDIT_CONFIRMATION"),
    account=Account(credentials={"client_id": "CF_invented", "client_secret": "cfsk_invented"}),
    fetched=a_reply(200, a_transfer()),
    reads_by_key=True,
)
