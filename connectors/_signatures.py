"""The building blocks of signature schemes: what several gateways share, as small functions.

Every scheme is read in the same four steps: the live keys (`live_keys`), the signatures the request carries
(`only_value` or `values`, `tagged`), the message as it was sealed (`field_list`, or parts joined), and the
proof that one of the keys has sealed it (`prove_hmac`, `prove_sandwich`). Where schemes differ is an argument: how key
text becomes bytes (`utf8`, `hex_key`, `base64_key`), how signature text does (`HEX`, `BASE64`), how a list is
written. Whatever is wrong leaves as `InvalidSignature` with its reason, for any bytes at all.

This is the receiver's hot path: keys are decoded once and kept, and a header is found in one pass.
"""

import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha1
from hmac import compare_digest
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.hmac import HMAC

from connectors._base import InvalidSignature, Reason, WebhookRequest

MAX_SIGNATURES: Final = 16
"""Candidates one request may carry. Gateways send one or two; hundreds are an attempt to make us work."""

KEPT: Final = 512
"""Secrets whose keys are kept ready. They are the operators' few; all that is kept was in memory already."""

ALGORITHMS: Final[Mapping[str, HashAlgorithm]] = {"sha256": SHA256(), "sha384": SHA384(), "sha512": SHA512()}

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


def live_keys(secrets: Sequence[str], decode: Callable[[str], bytes | None] = utf8) -> tuple[bytes, ...]:
    """Return the key of every secret that is not blank and can be decoded.

    Raises `no_secret_configured` when none is left: an HMAC with an empty key verifies for anyone. `decode` is a
    function of a module, not one made anew for each call: its results are kept.
    """
    keys = _decoded_keys(tuple(secrets), decode)
    if not keys:
        raise InvalidSignature(Reason.NO_SECRET_CONFIGURED)
    return keys


@lru_cache(KEPT)
def _decoded_keys(secrets: tuple[str, ...], decode: Callable[[str], bytes | None]) -> tuple[bytes, ...]:
    return tuple(key for secret in secrets if secret and not secret.isspace() and (key := decode(secret)))


def values(request: WebhookRequest, name: bytes) -> list[bytes]:
    """Return every value of a header that must be there. Raises `missing_header`."""
    found = [value for key, value in request.headers if key == name]
    if not found:
        raise InvalidSignature(Reason.MISSING_HEADER)
    return found


def only_value(request: WebhookRequest, name: bytes) -> bytes:
    """Return the value of a header that must be there exactly once. Raises `missing_header` or `malformed_header`."""
    found = None
    for key, value in request.headers:
        if key == name:
            if found is not None:
                raise InvalidSignature(Reason.MALFORMED_HEADER)
            found = value
    if found is None:
        raise InvalidSignature(Reason.MISSING_HEADER)
    return found


def tagged(value: bytes, *, separator: bytes = b",", between: bytes = b"=") -> dict[bytes, list[bytes]]:
    """Return what a list such as `t=1,s=ab,s=cd` says under each tag, in order; an entry without one is ignored."""
    said: dict[bytes, list[bytes]] = {}
    for entry in value.split(separator):
        tag, found, text = entry.partition(between)
        if found:
            said.setdefault(tag, []).append(text)
    return said


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


class Encoding(NamedTuple):
    """How a signature is written. Each has one text only, so that texts can be compared as they are."""

    read: Callable[[bytes], bytes | None]
    write: Callable[[bytes], bytes]


def _to_base64(seal: bytes) -> bytes:
    return binascii.b2a_base64(seal, newline=False)


HEX: Final = Encoding(from_hex, binascii.hexlify)
BASE64: Final = Encoding(from_base64, _to_base64)


def prove_hmac(
    texts: Sequence[bytes], written: Encoding, keys: Iterable[bytes], message: bytes, algorithm: str = "sha256"
) -> None:
    """Return when any text is the HMAC that one of the keys puts on the message.

    Raises as `decoded` does, or `signature_mismatch`. Only what does not match is looked at more closely.
    """
    if len(texts) <= MAX_SIGNATURES:
        for key in keys:
            hmac = _keyed(key, algorithm).copy()
            hmac.update(message)
            seal = written.write(hmac.finalize())
            for text in texts:
                if compare_digest(seal, text):
                    return
    raise _no_match(texts, written)


def _no_match(texts: Sequence[bytes], written: Encoding) -> InvalidSignature:
    decoded(texts, written.read)
    return InvalidSignature(Reason.SIGNATURE_MISMATCH)


@lru_cache(KEPT)
def _keyed(key: bytes, algorithm: str) -> HMAC:
    """Return an HMAC that has taken in its key: that costs more than to seal a message of usual length with it."""
    return HMAC(key, ALGORITHMS[algorithm])


def field_list(fields: Sequence[str], separator: str, free: int) -> str:
    """Return fields joined by `separator`, which none but field `free` may hold. Raises `malformed_header`.

    Nothing is escaped in such a list: were it allowed in two fields, text could move from one into the other and the
    seal would still fit.
    """
    joined = separator.join(fields)
    if joined.count(separator) != len(fields) - 1 + fields[free].count(separator):
        raise InvalidSignature(Reason.MALFORMED_HEADER)
    return joined


def prove_sandwich(texts: Sequence[bytes], keys: Iterable[bytes], body: bytes) -> None:
    """Return when any text is the base64 of SHA-1 over key, body, key: a plain hash, and all that PayCore offers.

    Raises as `prove_hmac` does. The key at the end stops whoever would extend the body.
    """
    if len(texts) <= MAX_SIGNATURES:
        for key in keys:
            seal = BASE64.write(sha1(key + body + key, usedforsecurity=False).digest())
            for text in texts:
                if compare_digest(seal, text):
                    return
    raise _no_match(texts, BASE64)


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
