"""The bearer token of Coinbase's CDP API: a short-lived JWT that names the one call it is for.

https://docs.cdp.coinbase.com/api-reference/v2/authentication
"""

import binascii
import time
from base64 import b64decode, urlsafe_b64encode
from secrets import token_hex
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from connectors._base import GatewayUnavailable

LIFETIME_SECONDS: Final = 120

SEED_BYTES: Final = 32
"""An Ed25519 secret is written as seed and public key, 64 bytes in base64; the seed is the key."""


def bearer(key_id: str, key_secret: str, method: str, url: str) -> str:
    """Return a token for one call. Raises `GatewayUnavailable` where the secret is no key."""
    key = _key(key_secret)
    now = int(time.time())  # the gateway compares with its own clock, so this has to be ours and the true one
    where = urlsplit(url)
    header = {
        "alg": "EdDSA" if isinstance(key, Ed25519PrivateKey) else "ES256",
        "kid": key_id,
        "typ": "JWT",
        "nonce": token_hex(8),
    }
    claims = {
        "sub": key_id,
        "iss": "cdp",
        "nbf": now,
        "exp": now + LIFETIME_SECONDS,
        "uris": [f"{method} {where.netloc}{where.path}"],
    }
    message = f"{_part(header)}.{_part(claims)}"
    return f"{message}.{_encoded(_sign(key, message.encode()))}"


def _key(secret: str) -> Ed25519PrivateKey | EllipticCurvePrivateKey:
    """Return an Ed25519 key (base64) or a P-256 key (PEM, its line breaks perhaps written as backslash and n)."""
    try:
        if "-----BEGIN" not in secret:
            return Ed25519PrivateKey.from_private_bytes(b64decode(secret, validate=True)[:SEED_BYTES])
        key = load_pem_private_key(secret.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        raise GatewayUnavailable("credential api_key_secret is no key") from None
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    raise GatewayUnavailable("credential api_key_secret is a key of another kind")


def _sign(key: Ed25519PrivateKey | EllipticCurvePrivateKey, message: bytes) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(message)
    r, s = decode_dss_signature(key.sign(message, ECDSA(SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)  # JWS wants the two numbers as they are, not in DER


def _part(fields: dict[str, Any]) -> str:
    return _encoded(orjson.dumps(fields))


def _encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()
