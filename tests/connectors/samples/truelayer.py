"""TrueLayer: a payout that was executed."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from connectors._base import Account, HttpReply, PayoutUpdate
from models.lifecycle import PayoutStatus
from sandbox.signers import truelayer
from tests.connectors.fakes import a_reply
from tests.connectors.keys import an_elliptic_key, as_arrived, pem
from tests.connectors.sample import Headers, Sample

KEY, OTHER = an_elliptic_key(ec.SECP521R1), an_elliptic_key(ec.SECP521R1, 1)
KEY_ID = "1fc0e59e-b335-47ca-99a9-749ea8c5dd1c"
JKU = "https://webhooks.truelayer.com/.well-known/jwks"
TOKEN = {"access_token": "eyJhbGciOiJSUzI1NiJ9.invented", "expires_in": 3600, "token_type": "Bearer"}


def a_jwk(key: ec.EllipticCurvePrivateKey, keyid: str = KEY_ID) -> dict[str, str]:
    """Return the public half as a JWK. TrueLayer leaves leading zeros of a coordinate away."""
    numbers = key.public_key().public_numbers()
    x, y = (
        urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode().rstrip("=")
        for number in (numbers.x, numbers.y)
    )
    return {"kty": "EC", "alg": "ES512", "kid": keyid, "crv": "P-521", "x": x, "y": y}


def a_key_set(*jwks: dict[str, str]) -> str:
    """Return a key set with a key of another kind beside ours, as TrueLayer's has."""
    stranger = {"kty": "RSA", "alg": "RS512", "kid": "rsa", "n": "piC9", "e": "AQAB"}
    return json.dumps({"keys": [stranger, *jwks]})


def an_event(word: str = "executed", **changes: Any) -> bytes:
    """Return a payout event."""
    event = {
        "type": f"payout_{word}",
        "event_id": "18b2842b-a57b-4887-a0a6-d3c7c36f1020",
        "event_version": 1,
        "payout_id": "0cd1b0f7-71bc-4d24-b209-95259dadcc20",
        "executed_at": "2026-05-12T09:14:02.123Z",
        "scheme_id": "sepa_credit_transfer_instant",
        "beneficiary": {"type": "external_account"},
        "metadata": {"order_key": "pay_01JX"},
    }
    return json.dumps(event | changes).encode()


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign with the key whose public half is in the secret."""
    signed = {"X-Tl-Webhook-Timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "Content-Type": "application/json"}
    key = KEY if secret == SAMPLE.secret else OTHER
    value = truelayer.signature(body, key, truelayer.claims(KEY_ID, signed, JKU), "/", signed)
    return as_arrived({"Tl-Signature": value, **signed})


SAMPLE = Sample(
    secret=a_key_set(a_jwk(OTHER, "older"), a_jwk(KEY)),
    other_secrets=(a_key_set(a_jwk(OTHER)), pem(OTHER), "invented"),
    body=an_event(),
    sign=sign,
    signs_time=True,
    says=PayoutUpdate(
        reference="0cd1b0f7-71bc-4d24-b209-95259dadcc20",
        order_key="pay_01JX",
        status=PayoutStatus.DELIVERED,
        said="executed",
        occurred_at=datetime(2026, 5, 12, 9, 14, 2, 123000, tzinfo=UTC),
    ),
    body_saying=an_event,
    other_subject=an_event(type="payment_executed", event_id="2"),
    account=Account(credentials={"client_id": "invented", "client_secret": "invented too"}),
    absent=[a_reply(200, TOKEN), HttpReply(404, {}, b"{}")],
)
