"""BridgerPay signs nothing: this is what somebody between it and us does, by agreement."""

import base64
import hmac
from typing import Final

NAME: Final = "X-Bridgerpay-Signature"


def sign(
    body: bytes, secret: str, at: float, *, name: str = NAME, algorithm: str = "sha256", encoding: str = "hex"
) -> list[tuple[str, str]]:
    """Return the HMAC of the raw body in one header; nothing where no secret was agreed."""
    del at
    if not secret:
        return []
    seal = hmac.digest(secret.encode(), body, algorithm)
    return [(name, seal.hex() if encoding == "hex" else base64.b64encode(seal).decode())]
