"""https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md."""

import base64
import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def sign(
    body: bytes, secret: str, at: float, message_id: str = "msg_2KWPBgLlAfxdpx2A", names: str = "Webhook"
) -> list[tuple[str, str]]:
    """Return the three headers with a v1 signature; `names` is `Svix` for Svix's spelling."""
    text = secret.removeprefix("whsec_")
    key = base64.b64decode(text + "=" * (-len(text) % 4))
    seal = hmac.new(key, f"{message_id}.{int(at)}.".encode() + body, hashlib.sha256).digest()
    return _headers(names, message_id, at, f"v1,{base64.b64encode(seal).decode()}")


def sign_v1a(
    body: bytes, key: Ed25519PrivateKey, at: float, message_id: str = "msg_2KWPBgLlAfxdpx2A"
) -> list[tuple[str, str]]:
    """Return the three headers with a v1a signature."""
    signature = key.sign(f"{message_id}.{int(at)}.".encode() + body)
    return _headers("Webhook", message_id, at, f"v1a,{base64.b64encode(signature).decode()}")


def _headers(names: str, message_id: str, at: float, signature: str) -> list[tuple[str, str]]:
    return [(f"{names}-Id", message_id), (f"{names}-Timestamp", str(int(at))), (f"{names}-Signature", signature)]
