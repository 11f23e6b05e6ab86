"""Circle: a payout that is complete."""

import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, PayoutUpdate
from models.lifecycle import PayoutStatus
from sandbox.signers import circle
from tests.connectors.fakes import a_reply
from tests.connectors.keys import an_elliptic_key, as_arrived, spki
from tests.connectors.sample import Headers, Sample

KEY, OTHER = an_elliptic_key(), an_elliptic_key(number=1)
KEY_ID = "879dc113-5ca4-4ff7-a6b7-54652083fcf8"


def a_payout(**changes: Any) -> dict[str, Any]:
    """Return a payout object as the API prints it."""
    return {
        "id": "b8627ae8-732b-4d25-b947-1df8f4007a29",
        "sourceWalletId": "1000216185",
        "destination": {"type": "wire", "id": "b9c1b2a0-7f2b-4f8f-8d5e-2b5c8e1a1111"},
        "amount": {"amount": "250.00", "currency": "USD"},
        "fees": {"amount": "0.00", "currency": "USD"},
        "status": "complete",
        "trackingRef": "CIR3KX3L99",
        "createDate": "2026-05-11T08:00:00.000Z",
        "updateDate": "2026-05-12T09:14:02.000Z",
    } | changes


def a_notification(subject: dict[str, Any], **changes: Any) -> bytes:
    """Return a notification about this object."""
    envelope = {
        "subscriptionId": "7c4f6a5e-1d5c-4c0e-9b5a-0f3a5a5e1111",
        "notificationId": "0f2d6ad6-6a17-4b7f-9f5e-1a0e4a5e2222",
        "notificationType": "payouts",
        "notification": subject,
        "timestamp": "2026-05-12T09:14:03.779834211Z",
        "version": 2,
    }
    return json.dumps(envelope | changes).encode()


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign with the key whose public half is the secret."""
    del at
    return as_arrived(circle.sign(body, KEY if secret == SAMPLE.secret else OTHER, KEY_ID))


SAMPLE = Sample(
    secret=f"keyid={KEY_ID} {spki(KEY)}",
    other_secrets=(f"keyid={KEY_ID} {spki(OTHER)}", f"keyid=another {spki(KEY)}", "invented"),
    body=a_notification(a_payout()),
    sign=sign,
    says=PayoutUpdate(
        reference="b8627ae8-732b-4d25-b947-1df8f4007a29",
        status=PayoutStatus.DELIVERED,
        said="complete",
        occurred_at=datetime(2026, 5, 12, 9, 14, 2, tzinfo=UTC),
        amount_minor=25000,
        currency="USD",
    ),
    body_saying=lambda word: a_notification(a_payout(status=word)),
    other_subject=a_notification({"hello": "world"}, notificationId="1", notificationType="webhooks.test"),
    account=Account(credentials={"api_key": "LIVE_API_KEY:invented"}),
    fetched=a_reply(200, {"data": a_payout()}),
)
