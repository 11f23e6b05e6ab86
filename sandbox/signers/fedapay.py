"""https://docs.fedapay.com/en/integration-api/webhooks."""

import hashlib
import hmac


def sign(body: bytes, secret: str, at: float) -> list[tuple[str, str]]:
    """Return the time and the HMAC of `<time>.<raw body>`, in hex."""
    seal = hmac.new(secret.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
    return [("X-FEDAPAY-SIGNATURE", f"t={int(at)},s={seal}")]
