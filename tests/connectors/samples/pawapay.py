"""pawaPay: a signed callback about a payout that arrived."""

import json
from datetime import datetime
from typing import Any

from connectors._base import Account, PayoutUpdate
from models.lifecycle import PayoutStatus
from sandbox.signers import pawapay
from tests.connectors.fakes import a_reply
from tests.connectors.keys import an_elliptic_key, as_arrived, spki
from tests.connectors.sample import Headers, Sample

KEY, OTHER = an_elliptic_key(), an_elliptic_key(number=1)
KEY_ID = "HTTP_EC_P256_KEY:1"
AUTHORITY = "hooks.example.test"
PAYOUT = "4f0c2d1e-8a9b-4c3d-9e5f-1a2b3c4d5e6f"


def a_payout(**changes: Any) -> dict[str, Any]:
    """Return a payout as callbacks and answers print it."""
    return {
        "payoutId": PAYOUT,
        "status": "COMPLETED",
        "amount": "250.50",
        "currency": "ZMW",
        "country": "ZMB",
        "recipient": {"type": "MMO", "accountDetails": {"phoneNumber": "260763456789", "provider": "MTN_MOMO_ZMB"}},
        "created": "2026-05-12T09:13:40Z",
        "providerTransactionId": "12356789",
    } | changes


def a_callback(**changes: Any) -> bytes:
    """Return a callback's body."""
    return json.dumps(a_payout(**changes)).encode()


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign with the key whose public half is the secret."""
    own = pawapay.own_headers(body, at)
    created = int(at.timestamp())
    parameters = f'alg="ecdsa-p256-sha256";keyid="{KEY_ID}";created={created};expires={created + 60}'
    seal = pawapay.ecdsa(KEY if secret == SAMPLE.secret else OTHER)
    return as_arrived(pawapay.signed(own, seal, authority=AUTHORITY, path="/", parameters=parameters))


SAMPLE = Sample(
    secret=f"keyid={KEY_ID} {spki(KEY)}",
    other_secrets=(f"keyid={KEY_ID} {spki(OTHER)}", f"keyid=another {spki(KEY)}", "invented"),
    body=a_callback(),
    sign=sign,
    signs_time=True,
    says=PayoutUpdate(
        reference=PAYOUT,
        order_key=PAYOUT,
        status=PayoutStatus.DELIVERED,
        said="COMPLETED",
        amount_minor=25050,
        currency="ZMW",
    ),
    body_saying=lambda word: a_callback(status=word),
    other_subject=json.dumps({"depositId": "8917c345-4791-4285-a416-62f24b6982db", "status": "COMPLETED"}).encode(),
    account=Account(credentials={"api_token": "invented"}, options={"authority": AUTHORITY}),
    fetched=a_reply(200, {"status": "FOUND", "data": a_payout()}),
    reads_by_key=True,
)
