"""EBANX: RSA PKCS#1 v1.5 with SHA-1 over the body, under the certificate's fingerprint.

https://docs.ebanx.com/docs/payout/general/notification
"""

from base64 import b64encode
from hashlib import sha1

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import Certificate


def fingerprint(certificate: Certificate) -> str:
    """Return what a certificate is called in the headers."""
    return sha1(certificate.public_bytes(serialization.Encoding.DER), usedforsecurity=False).hexdigest().upper()


def sign(body: bytes, key: rsa.RSAPrivateKey, name: str) -> dict[str, str]:
    """Return the signature headers of one notification, spelled as EBANX's list of headers spells them."""
    signature = key.sign(body, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - the gateway's scheme
    return {
        "X-SignatureType": "rsa,sha1",
        "X-SignatureFingerprint": name,
        "X-SignatureContent": b64encode(signature).decode(),
    }
