"""https://github.com/paycoreio/webhooks."""

import base64
import hashlib


def sign(body: bytes, secret: str, at: float) -> list[tuple[str, str]]:
    """Return the SHA-1 of secret, raw body and secret, in base64. No HMAC, no time."""
    del at
    digest = hashlib.sha1(secret.encode() + body + secret.encode(), usedforsecurity=False).digest()
    return [("X-Signature", base64.b64encode(digest).decode())]
