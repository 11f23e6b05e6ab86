"""Wise: RSA PKCS#1 v1.5 with SHA-256 over the body.

https://docs.wise.com/guides/developer/webhooks
"""

from base64 import b64encode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def sign(body: bytes, key: rsa.RSAPrivateKey) -> dict[str, str]:
    """Return the signature headers of one delivery."""
    return {"X-Signature-SHA256": b64encode(key.sign(body, padding.PKCS1v15(), hashes.SHA256())).decode()}
