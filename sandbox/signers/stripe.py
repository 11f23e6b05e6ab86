"""https://docs.stripe.com/webhooks#verify-manually."""

import hashlib
import hmac


def sign(body: bytes, secret: str, at: float) -> list[tuple[str, str]]:
    """Return `Stripe-Signature`."""
    seal = hmac.new(secret.encode(), f"{int(at)}.".encode() + body, hashlib.sha256).hexdigest()
    return [("Stripe-Signature", f"t={int(at)},v1={seal}")]
