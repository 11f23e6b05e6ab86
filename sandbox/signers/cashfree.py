"""https://www.cashfree.com/docs/api-reference/payouts/v2/webhooks/webhooks-v2 and webhooks-v1."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode


def sign(body: bytes, secret: str, at: float) -> list[tuple[str, str]]:
    """Return the two headers of version 2, the time in milliseconds."""
    time = str(int(at * 1000))
    seal = hmac.new(secret.encode(), time.encode() + body, hashlib.sha256).digest()
    return [("x-webhook-signature", base64.b64encode(seal).decode()), ("x-webhook-timestamp", time)]


def sign_v1(fields: Mapping[str, str], secret: str) -> bytes:
    """Return the form of version 1 with its signature among the fields."""
    together = "".join(fields[name] for name in sorted(fields))
    seal = hmac.new(secret.encode(), together.encode(), hashlib.sha256).digest()
    return urlencode({**fields, "signature": base64.b64encode(seal).decode()}).encode()
