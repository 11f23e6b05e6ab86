"""https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures."""

import base64
import hashlib
import hmac
import json
from typing import Any


def sign(body: bytes, secret: str, at: float) -> list[tuple[str, str]]:
    """Return the headers of a Balance Platform webhook; no time is signed."""
    del at
    seal = hmac.new(bytes.fromhex(secret), body, hashlib.sha256).digest()
    return [("HmacSignature", base64.b64encode(seal).decode()), ("Protocol", "HmacSHA256")]


def sign_items(items: list[dict[str, Any]], secret: str) -> bytes:
    """Return the body of a classic notification, each of its items signed."""
    signed = [
        item | {"additionalData": {**item.get("additionalData", {}), "hmacSignature": _seal(item, secret)}}
        for item in items
    ]
    return json.dumps(
        {"live": "false", "notificationItems": [{"NotificationRequestItem": item} for item in signed]}
    ).encode()


def _seal(item: dict[str, Any], secret: str) -> str:
    amount = item.get("amount", {})
    text = ":".join(
        str(part)
        for part in (
            item.get("pspReference", ""),
            item.get("originalReference", ""),
            item.get("merchantAccountCode", ""),
            item.get("merchantReference", ""),
            amount.get("value", ""),
            amount.get("currency", ""),
            item.get("eventCode", ""),
            item.get("success", ""),
        )
    )
    return base64.b64encode(hmac.new(bytes.fromhex(secret), text.encode(), hashlib.sha256).digest()).decode()
