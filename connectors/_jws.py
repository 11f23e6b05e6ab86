"""JSON Web Signatures whose payload is not in them but in the request (RFC 7515, appendix F), on `joserfc`.

The library reads and checks the standard; what is ours is the order of things: the header is looked at before any key
is, one algorithm is allowed, and whatever the library makes of hostile bytes leaves as `InvalidSignature`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from connectors._asymmetric import PARSED_KEYS
from connectors._base import InvalidSignature, Reason

MAX_LENGTH: Final = 4096
"""Characters of a whole detached signature; real ones have some 500."""

_UNREADABLE: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What the library raises for bytes that are no signature, besides its own errors."""


@dataclass(frozen=True, slots=True)
class JwkPin:
    """One pinned key, and its id where the operator wrote a key set."""

    key: ECKey = field(repr=False)
    keyid: str | None = None


@lru_cache(PARSED_KEYS)
def elliptic_keys(secret: str) -> tuple[JwkPin, ...] | None:
    """Return the elliptic-curve keys that a secret pins as JWKS JSON or as one PEM public key, None without any."""
    text = secret.strip()
    try:
        if text.startswith("{"):
            return tuple(_of_set(orjson.loads(text)["keys"])) or None
        key = ECKey.import_key(text)
    except _UNREADABLE:
        return None
    return None if key.is_private else (JwkPin(key),)


def _of_set(jwks: Iterable[Any]) -> Iterator[JwkPin]:
    """Yield the keys that we can use; others stand beside them in the set and are passed over."""
    for jwk in jwks:
        try:
            key = ECKey.import_key(jwk)
        except _UNREADABLE:
            continue
        if not key.is_private and isinstance(jwk.get("kid"), str):
            yield JwkPin(key, jwk["kid"])


class _Registry(jws.JWSRegistry):
    max_header_length = MAX_LENGTH


@dataclass(frozen=True, slots=True)
class Detached:
    """A detached signature, read and not yet believed."""

    text: bytes
    header: dict[str, Any]

    @classmethod
    def read(cls, text: bytes) -> "Detached":
        """Raises `malformed_header`, also for a signature that brings a payload of its own."""
        segments = text.split(b".")
        if len(text) > MAX_LENGTH or len(segments) != 3 or segments[1] or not segments[2]:  # noqa: PLR2004 - RFC 7515
            raise InvalidSignature(Reason.MALFORMED_HEADER)
        try:
            header = jws.extract_compact(text, b"-", _Registry()).headers()
        except _UNREADABLE:
            raise InvalidSignature(Reason.MALFORMED_HEADER) from None
        if not isinstance(header, dict):
            raise InvalidSignature(Reason.MALFORMED_HEADER)
        return cls(text, header)

    def is_by(self, key: ECKey, payload: bytes, algorithm: str) -> bool:
        """Say whether the holder of the key has signed this header and this payload, by this algorithm and no other."""
        registry = _Registry(algorithms=[algorithm], strict_check_header=False)
        try:
            jws.deserialize_compact(self.text, key, registry=registry, payload=payload)
        except _UNREADABLE:
            return False
        return True
