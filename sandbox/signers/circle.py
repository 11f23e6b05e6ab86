"""Circle: the DER of ECDSA P-256 with SHA-256 over the body.

https://developers.circle.com/wallets/webhook-notifications
"""

from base64 import b64encode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec


def sign(body: bytes, key: ec.EllipticCurvePrivateKey, key_id: str) -> dict[str, str]:
    """Return the signature headers of one notification."""
    return {
        "X-Circle-Signature": b64encode(key.sign(body, ec.ECDSA(hashes.SHA256()))).decode(),
        "X-Circle-Key-Id": key_id,
    }
