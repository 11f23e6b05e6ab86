"""Adyen: a transfer of the Balance Platform that came back."""

import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, PayoutUpdate
from models.lifecycle import PayoutStatus
from sandbox.signers import adyen
from tests.connectors.fakes import a_reply
from tests.connectors.sample import Sample, signed_by


def a_transfer(**changes: Any) -> dict[str, Any]:
    """Return a transfer as webhooks and the API print it."""
    return {
        "accountHolder": {"id": "AH32272223222B5CTDNB66W2Z", "description": "An invented holder"},
        "amount": {"currency": "EUR", "value": 25000},
        "category": "bank",
        "createdAt": "2026-05-11T10:00:00+02:00",
        "direction": "outgoing",
        "id": "48POO45WGTDEP0T7",
        "reason": "counterpartyAccountClosed",
        "reference": "pay_01JX",
        "sequenceNumber": 5,
        "status": "returned",
        "type": "bankTransfer",
        "updatedAt": "2026-05-12T11:14:00+02:00",
    } | changes


def an_event(data: dict[str, Any], kind: str = "balancePlatform.transfer.updated") -> bytes:
    """Return an event with this transfer."""
    return json.dumps({"data": data, "environment": "live", "type": kind}).encode()


def an_item(**changes: Any) -> dict[str, Any]:
    """Return a classic notification item, not yet signed."""
    return {
        "additionalData": {},
        "amount": {"currency": "EUR", "value": 25000},
        "eventCode": "PAYOUT_THIRDPARTY",
        "eventDate": "2026-05-12T11:14:00+02:00",
        "merchantAccountCode": "InventedMerchant",
        "merchantReference": "pay_01JX",
        "originalReference": "8815131768219972",
        "pspReference": "8815131768219992",
        "reason": "",
        "success": "true",
    } | changes


SAMPLE = Sample(
    secret="A1" * 32,
    other_secrets=("B2" * 32, "another, and no hex"),
    body=an_event(a_transfer()),
    sign=signed_by(adyen.sign),
    says=PayoutUpdate(
        reference="48POO45WGTDEP0T7",
        order_key="pay_01JX",
        status=PayoutStatus.RETURNED,
        said="returned",
        occurred_at=datetime(2026, 5, 12, 9, 14, tzinfo=UTC),
        amount_minor=25000,
        currency="EUR",
        failure_code="counterpartyAccountClosed",
    ),
    body_saying=lambda word: an_event(a_transfer(status=word, reason="approved")),
    other_subject=an_event({"id": "BA1"}, "balancePlatform.balanceAccount.updated"),
    account=Account(credentials={"api_key": "AQE_invented"}),
    fetched=a_reply(200, a_transfer()),
)
