"""Standard Webhooks: the signature, symmetric (v1) and asymmetric (v1a), under its own header names and Svix's.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import re
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature as Mismatch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from connectors._base import InvalidSignature, Reason, WebhookRequest
from connectors._signatures import (
    base64_key,
    decoded,
    from_base64,
    live_keys,
    only_value,
    prove,
    seals,
    tagged,
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
    found = only_value(request, _prefix(request) + b"-id")
    if not _MESSAGE_ID.fullmatch(found):
        raise InvalidSignature(Reason.MALFORMED_HEADER)
    return found


def prove_standard(request: WebhookRequest, secrets: Sequence[str]) -> int:
    """Return the signed time in seconds, once one signature fits. Raises `InvalidSignature`."""
    prefix = _prefix(request)
    identity, time = message_id(request), only_value(request, prefix + b"-timestamp")
    seconds = unix_seconds(time)
    entries = b" ".join(values(request, prefix + b"-signature"))
    _prove_either(entries, b".".join((identity, time, request.body)), secrets)
    return seconds


def _prefix(request: WebhookRequest) -> bytes:
    """Return which names the sender uses: Svix's only where there is none of the standard's own.

    Were they mixed, an unsigned `webhook-id` could be added to a message that was signed under Svix's names.
    """
    return NAMES[0] if any(name.startswith(NAMES[0] + b"-") for name, _ in request.headers) else NAMES[1]


def _prove_either(entries: bytes, message: bytes, secrets: Sequence[str]) -> None:
    """Return when a signature of either version fits a key of its own kind."""
    public = [secret for secret in secrets if secret.strip().startswith(PUBLIC)]
    shared = [secret for secret in secrets if secret.strip() and not secret.strip().startswith((PUBLIC, PRIVATE))]
    refusal = InvalidSignature(Reason.NO_SECRET_CONFIGURED)
    for version, prove_version, keys in ((b"v1a", _prove_public, public), (b"v1", _prove_shared, shared)):
        if not keys:
            continue
        try:
            return prove_version(tagged(entries, version, separator=b" ", between=b","), message, keys)
        except InvalidSignature as refused:
            refusal = refused
    raise refusal


def _prove_shared(texts: Sequence[bytes], message: bytes, secrets: Sequence[str]) -> None:
    keys = live_keys(secrets, lambda secret: base64_key(secret, SHARED))
    prove(decoded(texts, from_base64), seals(keys, message))


def _prove_public(texts: Sequence[bytes], message: bytes, secrets: Sequence[str]) -> None:
    keys = live_keys(secrets, lambda secret: base64_key(secret, PUBLIC))
    signatures = decoded(texts, from_base64)
    if not any(_fits(key, signature, message) for key in keys for signature in signatures):
        raise InvalidSignature(Reason.SIGNATURE_MISMATCH)


def _fits(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (Mismatch, ValueError):
        return False
    return True
