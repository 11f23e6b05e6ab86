"""Standard Webhooks signatures on what we send. Source: the Standard Webhooks specification, symmetric scheme `v1`."""

import hmac
import secrets as randomness
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"


def new_secret() -> str:
    """Return a fresh endpoint secret: 32 random bytes as `whsec_…`."""
    return PREFIX + b64encode(randomness.token_bytes(32)).decode()


def signature(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` header: one `v1,…` per live secret. `timestamp` in unix seconds."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join(f"v1,{b64encode(hmac.digest(_key(secret), signed, 'sha256')).decode()}" for secret in secrets)


def _key(secret: str) -> bytes:
    return b64decode(secret.removeprefix(PREFIX), validate=True)
