"""PayPal: a hint that a payout item has come to its end."""

import json
from datetime import datetime
from typing import Any

from connectors._base import Account, HttpReply, PayoutUpdate
from sandbox.signers import paypal
from tests.connectors.fakes import a_reply
from tests.connectors.keys import a_leaf, an_authority, an_rsa_key, as_arrived, certificate_pem
from tests.connectors.sample import Headers, Sample

HOST = "messageverificationcerts.paypal.com"
URL = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-8d6d8d7e"
WEBHOOK_ID = "96605875FF6516633"
TOKEN = {"access_token": "A21AAinvented", "expires_in": 32400, "token_type": "Bearer"}

ROOT_KEY, AUTHORITY_KEY, KEY, OTHER = an_rsa_key(2), an_rsa_key(3), an_rsa_key(), an_rsa_key(1)
ROOT = an_authority(ROOT_KEY)
AUTHORITY = an_authority(AUTHORITY_KEY, "Authority", (ROOT_KEY, "Root"))
LEAF = a_leaf(KEY, HOST, (AUTHORITY_KEY, "Authority"))
OTHER_LEAF = a_leaf(OTHER, HOST, (AUTHORITY_KEY, "Authority"))


def an_item(**changes: Any) -> dict[str, Any]:
    """Return a payout item as events and answers print it."""
    return {
        "payout_item_id": "8AELMXH8UB2P8",
        "transaction_id": "0C413693MN970190K",
        "transaction_status": "SUCCESS",
        "payout_batch_id": "5UXD2E8A7EBQJ",
        "payout_item": {
            "recipient_type": "EMAIL",
            "amount": {"currency": "USD", "value": "250.00"},
            "receiver": "payee@example.test",
            "sender_item_id": "pay_01JX",
        },
        "time_processed": "2026-05-12T09:14:02Z",
    } | changes


def an_event(**changes: Any) -> bytes:
    """Return an event about a payout item."""
    event = {
        "id": "WH-2MW4820926242972J-6SG447389E205703U",
        "event_version": "1.0",
        "create_time": "2026-05-12T09:14:03.613Z",
        "resource_type": "payouts_item",
        "event_type": "PAYMENT.PAYOUTS-ITEM.SUCCEEDED",
        "summary": "A payout item has succeeded",
        "resource": an_item(),
    }
    return json.dumps(event | changes).encode()


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign with the key whose certificate is in the secret."""
    key = KEY if secret == SAMPLE.secret else OTHER
    transmission = "071f7d20-1584-11e7-abf0-6b62a8a99ac4"
    return as_arrived(paypal.sign(body, key, cert_url=URL, webhook_id=WEBHOOK_ID, transmission_id=transmission, at=at))


SAMPLE = Sample(
    secret=f"{URL}\n{certificate_pem(LEAF, AUTHORITY, ROOT)}",
    other_secrets=(
        f"{URL}\n{certificate_pem(OTHER_LEAF, AUTHORITY, ROOT)}",
        f"{URL}-2\n{certificate_pem(LEAF, AUTHORITY, ROOT)}",
        "invented",
    ),
    body=an_event(),
    sign=sign,
    signs_time=True,
    hints_only=True,
    says=PayoutUpdate(reference="8AELMXH8UB2P8", status=None, said="SUCCESS"),
    body_saying=lambda word: an_event(resource=an_item(transaction_status=word)),
    other_subject=an_event(id="WH-2", event_type="PAYMENT.SALE.COMPLETED"),
    account=Account(
        credentials={"client_id": "invented", "client_secret": "invented too"},
        options={"webhook_id": WEBHOOK_ID, "tolerance_seconds": 3600},
    ),
    absent=[a_reply(200, TOKEN), HttpReply(404, {}, b"{}")],
)
