"""https://docs.cdp.coinbase.com/webhooks/verify-signatures, which is Hook0's scheme."""

import hashlib
import hmac
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

COVERED: Final = MappingProxyType({"content-type": "application/json", "x-event-id": "5f2c"})
"""Headers that the signature covers; they are sent along."""


def sign(body: bytes, secret: str, at: float, covered: Mapping[str, str] = COVERED) -> list[tuple[str, str]]:
    """Return `X-Hook0-Signature` in version 1 and the headers it covers."""
    front = f"{int(at)}.{' '.join(covered)}.{'.'.join(covered.values())}."
    seal = hmac.new(secret.encode(), front.encode() + body, hashlib.sha256).hexdigest()
    return [("X-Hook0-Signature", f"t={int(at)},h={' '.join(covered)},v1={seal}"), *covered.items()]


def sign_v0(body: bytes, secret: str, at: float) -> list[tuple[str, str]]:
    """Return `X-Hook0-Signature` in version 0, which covers no header."""
    seal = hmac.new(secret.encode(), f"{int(at)}.".encode() + body, hashlib.sha256).hexdigest()
    return [("X-Hook0-Signature", f"t={int(at)},v0={seal}")]
