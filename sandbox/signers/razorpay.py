"""https://razorpay.com/docs/webhooks/validate-test."""

import hashlib
import hmac


def sign(body: bytes, secret: str, at: float) -> list[tuple[str, str]]:
    """Return `X-Razorpay-Signature`; no time is signed."""
    del at
    return [("X-Razorpay-Signature", hmac.new(secret.encode(), body, hashlib.sha256).hexdigest())]
