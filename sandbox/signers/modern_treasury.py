"""https://docs.moderntreasury.com/platform/reference/webhooks#authentication."""

import hashlib
import hmac


def sign(body: bytes, secret: str, at: float) -> list[tuple[str, str]]:
    """Return `X-Signature`; no time is signed."""
    del at
    return [("X-Signature", hmac.new(secret.encode(), body, hashlib.sha256).hexdigest())]
