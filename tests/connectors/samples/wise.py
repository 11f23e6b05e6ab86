"""Wise: a transfer that was sent."""

import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, PayoutUpdate
from models.lifecycle import PayoutStatus
from sandbox.signers import wise
from tests.connectors.fakes import a_reply
from tests.connectors.keys import an_rsa_key, as_arrived, pem, spki
from tests.connectors.sample import Headers, Sample

KEY, OTHER = an_rsa_key(), an_rsa_key(1)


def an_event(state: str = "outgoing_payment_sent", **changes: Any) -> bytes:
    """Return a transfer's change of state."""
    event = {
        "data": {
            "resource": {"type": "transfer", "id": 49142831, "profile_id": 9274115, "account_id": 6481530},
            "current_state": state,
            "previous_state": "funds_converted",
            "occurred_at": "2026-05-12T09:14:02Z",
        },
        "subscription_id": "01a7e0f3-5f0e-4d6e-9b0c-5d4b5cf3a111",
        "event_type": "transfers#state-change",
        "schema_version": "2.0.0",
        "sent_at": "2026-05-12T09:14:03Z",
    }
    return json.dumps(event | changes).encode()


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign with the key whose public half is the secret."""
    del at
    return as_arrived(wise.sign(body, KEY if secret == SAMPLE.secret else OTHER))


SAMPLE = Sample(
    secret=pem(KEY),
    other_secrets=(spki(OTHER), pem(OTHER), "invented"),
    body=an_event(),
    sign=sign,
    says=PayoutUpdate(
        reference="49142831",
        status=PayoutStatus.DELIVERED,
        said="outgoing_payment_sent",
        occurred_at=datetime(2026, 5, 12, 9, 14, 2, tzinfo=UTC),
    ),
    body_saying=an_event,
    other_subject=an_event(event_type="transfers#active-cases", data={"resource": {"type": "transfer", "id": 7}}),
    account=Account(credentials={"api_token": "invented"}),
    fetched=a_reply(
        200,
        {
            "id": 49142831,
            "status": "outgoing_payment_sent",
            "created": "2026-05-11 07:43:55",
            "rate": 1.1537,
            "sourceCurrency": "EUR",
            "sourceValue": 216.7,
            "targetCurrency": "USD",
            "targetValue": 250.0,
            "customerTransactionId": "5d4b5cf3-0c4e-4a56-8bd4-3b8f4bb1a111",
            "hasActiveIssues": False,
        },
    ),
)
