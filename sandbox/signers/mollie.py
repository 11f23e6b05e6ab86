"""https://docs.mollie.com/reference/webhooks-new."""

import hashlib
import hmac


def sign(body: bytes, secret: str, at: float) -> list[tuple[str, str]]:
    """Return `sha256=` and the HMAC of the raw body, in hex. No time is signed."""
    del at
    return [("X-Mollie-Signature", "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest())]
