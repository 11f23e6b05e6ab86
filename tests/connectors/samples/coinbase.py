"""Coinbase: a transfer from an account to an address on a chain."""

import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, PayoutUpdate
from models.lifecycle import PayoutStatus
from sandbox.signers import coinbase
from tests.connectors.fakes import a_reply
from tests.connectors.sample import Sample, signed_by

ED25519_SECRET = "R9+BBt0SkOpnvy6FJJ/0LCzK5WBiUoOnQO8ht0A7NFUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
"""Invented: a seed, and zeros where the public key would be."""


def a_transfer(**changes: Any) -> dict[str, Any]:
    """Return a transfer as the API prints it."""
    return {
        "transferId": "transfer_af2937b0-9846-4fe7-bfe9-ccc22d935114",
        "status": "completed",
        "source": {"accountId": "account_0c1b", "asset": "usdc"},
        "target": {"address": "0x00000000000000000000000000000000000000aa", "network": "base", "asset": "usdc"},
        "sourceAmount": "100.19",
        "sourceAsset": "usdc",
        "targetAmount": "100.00",
        "targetAsset": "usdc",
        "metadata": {"order_key": "pay_01JX"},
        "createdAt": "2026-05-12T09:10:00Z",
        "updatedAt": "2026-05-12T09:14:00Z",
    } | changes


def an_event(data: dict[str, Any], **changes: Any) -> bytes:
    """Return an event with this payout."""
    event = {
        "eventId": "9a8b7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d",
        "eventType": "payments.transfers.completed",
        "timestamp": "2026-05-12T09:14:01Z",
        "data": data,
    }
    return json.dumps(event | changes).encode()


SAMPLE = Sample(
    secret="invented-subscription-secret",
    body=an_event(a_transfer()),
    sign=signed_by(coinbase.sign),
    signs_time=True,
    says=PayoutUpdate(
        reference="transfer_af2937b0-9846-4fe7-bfe9-ccc22d935114",
        order_key="pay_01JX",
        status=PayoutStatus.DELIVERED,
        said="completed",
        occurred_at=datetime(2026, 5, 12, 9, 14, tzinfo=UTC),
        amount_minor=100_000_000,
        currency="USDC",
    ),
    body_saying=lambda word: an_event(a_transfer(status=word)),
    other_subject=an_event({"transactionId": "1"}, eventId="e2", eventType="onramp.transaction.created"),
    account=Account(credentials={"api_key_id": "invented", "api_key_secret": ED25519_SECRET}),
    fetched=a_reply(200, a_transfer()),
)
