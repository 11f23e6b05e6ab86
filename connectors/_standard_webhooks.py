"""Standard Webhooks: the signature, symmetric (v1) and asymmetric (v1a), under its own header names and Svix's.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from connectors._asymmetric import ed25519
from connectors._base import InvalidSignature, Reason, WebhookRequest
from connectors._signatures import (
    BASE64,
    KEPT,
    base64_key,
    decoded,
    from_base64,
    only_value,
    prove_hmac,
    unix_seconds,
    values,
)

NAMES: Final = (b"webhook", b"svix")
"""What the names of the three headers begin with."""

PUBLIC: Final = "whpk_"
"""What marks a secret as the public key of v1a. Without the mark it would be taken for a shared secret, and everybody
knows a public key."""

SHARED: Final = "whsec_"
"""What may stand before the base64 of a shared secret."""

PRIVATE: Final = "whsk_"
"""The mark of a private key, which only a sender needs: never used."""

_MESSAGE_ID: Final = re.compile(rb"[!-\-/-~]{1,200}")
"""Visible ASCII without the dot, which separates what is signed."""


def message_id(request: WebhookRequest) -> bytes:
    """Return the signed id. Raises `missing_header` or `malformed_header`."""
    return _message_id(request, _prefix(request))


def prove_standard(request: WebhookRequest, secrets: Sequence[str]) -> int:
    """Return the signed time in seconds, once one signature fits. Raises `InvalidSignature`."""
    prefix = _prefix(request)
    identity, time = _message_id(request, prefix), only_value(request, prefix + b"-timestamp")
    seconds = unix_seconds(time)
    entries = b" ".join(values(request, prefix + b"-signature"))
    _prove_either(entries, b".".join((identity, time, request.body)), _keys_of(tuple(secrets)))
    return seconds


def _prefix(request: WebhookRequest) -> bytes:
    """Return which names the sender uses: Svix's only where there is none of the standard's own.

    Were they mixed, an unsigned `webhook-id` could be added to a message that was signed under Svix's names.
    """
    for name, _ in request.headers:
        if name.startswith(b"webhook-"):
            return NAMES[0]
    return NAMES[1]


def _message_id(request: WebhookRequest, prefix: bytes) -> bytes:
    found = only_value(request, prefix + b"-id")
    if not _MESSAGE_ID.fullmatch(found):
        raise InvalidSignature(Reason.MALFORMED_HEADER)
    return found


@dataclass(frozen=True, slots=True)
class _Keys:
    """What an integration's secrets are, each kind for its own version."""

    shared: tuple[bytes, ...] = field(repr=False)
    public: tuple[Ed25519PublicKey, ...]


@lru_cache(KEPT)
def _keys_of(secrets: tuple[str, ...]) -> _Keys:
    shared, public = [], []
    for secret in map(str.strip, secrets):
        if secret.startswith(PUBLIC):
            public.append(_public_key(secret))
        elif secret and not secret.startswith(PRIVATE):
            shared.append(base64_key(secret, SHARED))
    return _Keys(tuple(filter(None, shared)), tuple(filter(None, public)))


def _public_key(secret: str) -> Ed25519PublicKey | None:
    try:
        return Ed25519PublicKey.from_public_bytes(base64_key(secret, PUBLIC) or b"")
    except ValueError:
        return None


def _prove_either(entries: bytes, message: bytes, keys: _Keys) -> None:
    """Return when a signature of either version fits a key of its own kind."""
    if keys.public:
        try:
            return _prove_public(decoded(_signatures(entries, b"v1a,"), from_base64), message, keys.public)
        except InvalidSignature:
            if not keys.shared:
                raise
    if not keys.shared:
        raise InvalidSignature(Reason.NO_SECRET_CONFIGURED)
    return prove_hmac(_signatures(entries, b"v1,"), BASE64, keys.shared, message)


def _signatures(entries: bytes, version: bytes) -> list[bytes]:
    return [entry.removeprefix(version) for entry in entries.split(b" ") if entry.startswith(version)]


def _prove_public(signatures: Sequence[bytes], message: bytes, keys: Sequence[Ed25519PublicKey]) -> None:
    if not any(ed25519(key, signature, message) for key in keys for signature in signatures):
        raise InvalidSignature(Reason.SIGNATURE_MISMATCH)
