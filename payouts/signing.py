"""Standard Webhooks signatures on what we send. Source: the Standard Webhooks specification.

`v1` is HMAC-SHA256 with a secret that both sides know, `v1a` Ed25519 with a key of ours that everybody can check. Every
endpoint has secrets and keys of its own: what is signed for one proves nothing to another (docs/decisions/0011).
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.endpoint import PRIVATE, PUBLIC, SYMMETRIC, Endpoint

SCHEMES: Final = {"v1": SYMMETRIC, "v1a": PRIVATE}
"""Scheme, and the prefix of what signs by it."""
SEED_BYTES: Final = 32
MOST_SIGNERS: Final = 4_096

Sign = Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What verifies `v1a` signatures of one endpoint, until its end if it has one."""

    text: str
    """`whpk_…`"""
    expires_at: datetime | None


def signature(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` header: one `v1,…` or `v1a,…` per live secret. `timestamp` in unix seconds."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join([_signer(secret)(signed) for secret in secrets])


def public_keys(endpoint: Endpoint, now: datetime) -> list[PublicKey]:
    """Return the keys that verify what the endpoint gets, the newest first; none if it does not ask for `v1a`."""
    if "v1a" not in endpoint.schemes:
        return []
    known = endpoint.secrets().known
    live = [(secret, until) for secret, until in known if until is None or until > now]
    return [PublicKey(public_key(secret), until) for secret, until in live if secret.startswith(PRIVATE)]


def public_key(private: str) -> str:
    """Return the `whpk_…` of a `whsk_…`."""
    return PUBLIC + b64encode(_private_key(private).public_key().public_bytes_raw()).decode()


@lru_cache(MOST_SIGNERS)
def _signer(secret: str) -> Sign:
    """Return what signs with a secret. Kept, because reading a private key takes as long as signing with it."""
    if secret.startswith(PRIVATE):
        private = _private_key(secret)
        return lambda signed: f"v1a,{b64encode(private.sign(signed)).decode()}"
    keyed = hmac.HMAC(b64decode(secret.removeprefix(SYMMETRIC), validate=True), hashes.SHA256())

    def sign(signed: bytes) -> str:
        mac = keyed.copy()  # half as long as starting with the key each time
        mac.update(signed)
        return f"v1,{b64encode(mac.finalize()).decode()}"

    return sign


def _private_key(secret: str) -> Ed25519PrivateKey:
    """Read a `whsk_…`: a seed, or seed and public key as others write it."""
    return Ed25519PrivateKey.from_private_bytes(b64decode(secret.removeprefix(PRIVATE), validate=True)[:SEED_BYTES])
