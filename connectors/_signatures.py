"""The building blocks of signature schemes: what several gateways share, as small functions.

Every scheme is read in the same four steps: the live keys (`live_keys`), the signatures the request carries
(`only_value` or `values`, `tagged`, `decoded`), the seal each key would have put on the message (`seals`,
`hmac_sha256`, `sha1_sandwich`), and the comparison (`prove`). Where schemes differ is an argument: how key text becomes
bytes (`utf8`, `hex_key`, `base64_key`), how signature text becomes bytes (`from_hex`, `from_base64`), how a list is
written, which parts are sealed and what stands between them. Whatever is wrong leaves as `InvalidSignature` with its
reason, for any bytes at all.
"""

import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from connectors._base import InvalidSignature, Reason, WebhookRequest

MAX_SIGNATURES: Final = 16
"""Candidates one request may carry. Gateways send one or two; hundreds are an attempt to make us work."""

MAX_SECONDS_DIGITS: Final = 11
"""Digits of a unix time that `datetime` can still hold."""


def utf8(secret: str) -> bytes:
    """Return key text as the bytes it is written in, as most gateways use it: prefix and all."""
    return secret.encode("utf-8", "surrogatepass")


def hex_key(secret: str) -> bytes | None:
    """Return the bytes that key text writes in hex of either case, None where it is none."""
    try:
        return binascii.unhexlify(secret.strip())
    except ValueError:
        return None


def base64_key(secret: str, prefix: str = "") -> bytes | None:
    """Return the bytes that key text writes in base64 behind an optional prefix, None where it is none.

    Missing padding is let pass: operators copy keys from dashboards that leave it out, and no attacker writes them.
    """
    text = secret.strip().removeprefix(prefix).rstrip("=")
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        return None


def live_keys(secrets: Sequence[str], decode: Callable[[str], bytes | None] = utf8) -> list[bytes]:
    """Return the key of every secret that is not blank and can be decoded.

    Raises `no_secret_configured` when none is left: an HMAC with an empty key verifies for anyone.
    """
    keys = [key for secret in secrets if secret and not secret.isspace() and (key := decode(secret))]
    if not keys:
        raise InvalidSignature(Reason.NO_SECRET_CONFIGURED)
    return keys


def values(request: WebhookRequest, name: bytes) -> list[bytes]:
    """Return every value of a header that must be there. Raises `missing_header`."""
    found = request.values(name)
    if not found:
        raise InvalidSignature(Reason.MISSING_HEADER)
    return found


def only_value(request: WebhookRequest, name: bytes) -> bytes:
    """Return the value of a header that must be there exactly once. Raises `missing_header` or `malformed_header`."""
    found = values(request, name)
    if len(found) > 1:
        raise InvalidSignature(Reason.MALFORMED_HEADER)
    return found[0]


def tagged(value: bytes, tag: bytes, *, separator: bytes = b",", between: bytes = b"=") -> list[bytes]:
    """Return what a list such as `t=1,s=ab,s=cd` says under `tag`, in order; entries of other tags are ignored."""
    prefix = tag + between
    return [entry[len(prefix) :] for entry in value.split(separator) if entry.startswith(prefix)]


def from_hex(text: bytes) -> bytes | None:
    """Return the bytes of lower-case hex, None for anything else.

    One way of writing only: were upper case accepted too, one signature would have many texts.
    """
    try:
        found = binascii.unhexlify(text)
    except ValueError:
        return None
    return found if found.hex().encode() == text else None


def from_base64(text: bytes) -> bytes | None:
    """Return the bytes of padded base64, None for anything else, as for stray bits in its end (RFC 4648, 3.5)."""
    try:
        found = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return found if binascii.b2a_base64(found, newline=False) == text else None


def decoded(texts: Sequence[bytes], decode: Callable[[bytes], bytes | None]) -> list[bytes]:
    """Return the signatures that can be decoded; a rotated or foreign one beside them may be rubbish.

    Raises `malformed_header` without any or with too many, `bad_encoding` when none can be decoded.
    """
    if not 0 < len(texts) <= MAX_SIGNATURES:
        raise InvalidSignature(Reason.MALFORMED_HEADER)
    signatures = [signature for text in texts if (signature := decode(text)) is not None]
    if not signatures:
        raise InvalidSignature(Reason.BAD_ENCODING)
    return signatures


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return the HMAC-SHA256 of `message`."""
    return hmac.digest(key, message, "sha256")


def seals(keys: Iterable[bytes], *parts: bytes, separator: bytes = b"") -> Iterator[bytes]:
    """Yield the HMAC-SHA256 that each key puts on `parts` with `separator` between them."""
    message = separator.join(parts)
    return (hmac_sha256(key, message) for key in keys)


def field_list(fields: Sequence[bytes], separator: bytes, free: int) -> bytes:
    """Return fields joined by `separator`, which none but field `free` may hold. Raises `malformed_header`.

    Nothing is escaped in such a list: were it allowed in two fields, text could move from one into the other and the
    seal would still fit.
    """
    if any(separator in field for index, field in enumerate(fields) if index != free):
        raise InvalidSignature(Reason.MALFORMED_HEADER)
    return separator.join(fields)


def sha1_sandwich(key: bytes, body: bytes) -> bytes:
    """Return SHA-1 of secret, body, secret: a plain hash, and the only one PayCore offers."""
    return hashlib.sha1(key + body + key).digest()  # noqa: S324 - the gateway's choice; the trailing key stops extension


def prove(signatures: Sequence[bytes], expected: Iterable[bytes]) -> None:
    """Return when any signature equals any expected seal, compared in constant time. Raises `signature_mismatch`."""
    for seal in expected:
        for signature in signatures:
            if hmac.compare_digest(seal, signature):
                return
    raise InvalidSignature(Reason.SIGNATURE_MISMATCH)


def unix_seconds(text: bytes) -> int:
    """Return a unix time written in ASCII digits and nothing else. Raises `malformed_header`."""
    if not text.isdigit() or len(text) > MAX_SECONDS_DIGITS:
        raise InvalidSignature(Reason.MALFORMED_HEADER)
    return int(text)


def fresh(seconds: int, now: datetime, tolerance_seconds: float | None) -> datetime:
    """Return the signed time, once it is near enough to `now` in both directions; None enforces nothing.

    Raises `timestamp_too_old` or `timestamp_in_future`.
    """
    if tolerance_seconds is not None:
        age = now.timestamp() - seconds
        if age > tolerance_seconds:
            raise InvalidSignature(Reason.TIMESTAMP_TOO_OLD)
        if age < -tolerance_seconds:
            raise InvalidSignature(Reason.TIMESTAMP_IN_FUTURE)
    return datetime.fromtimestamp(seconds, UTC)
