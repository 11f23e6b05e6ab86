"""PayPal: RSA with SHA-256 over transmission id, time, webhook id and the CRC-32 of the body.

https://developer.paypal.com/api/rest/webhooks/rest/
"""

from base64 import b64encode
from binascii import crc32
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def sign(
    body: bytes, key: rsa.RSAPrivateKey, *, cert_url: str, webhook_id: str, transmission_id: str, at: datetime
) -> dict[str, str]:
    """Return the signature headers of one transmission."""
    time = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    signed = f"{transmission_id}|{time}|{webhook_id}|{crc32(body) & 0xFFFFFFFF}"
    return {
        "PAYPAL-TRANSMISSION-ID": transmission_id,
        "PAYPAL-TRANSMISSION-TIME": time,
        "PAYPAL-TRANSMISSION-SIG": b64encode(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())).decode(),
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        "PAYPAL-CERT-URL": cert_url,
    }
