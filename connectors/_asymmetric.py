"""Signatures by a gateway's private key, checked with the public keys that the operator has pinned.

The key never comes from the request: a key id in a header only chooses among the pins. A pin is one entry of the
integration's webhook secrets, written as

    [keyid=<the gateway's id of the key>] <the key>

where the key is a PEM public key, a PEM certificate, or the base64 of a DER SubjectPublicKeyInfo (what stands between
the lines of a PEM). A key pinned without an id answers to every id. Text that is no key is passed over, and a list
without any key is `no_secret_configured`.

A `Seal` is one way of signing. It says yes or no and never raises, whatever the bytes and whatever the kind of key.
"""

import binascii
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Protocol, TypeVar

from cryptography import exceptions, x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurve, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from connectors._base import InvalidSignature, Reason

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

PARSED_KEYS: Final = 512
"""Key texts whose parsed form is kept: parsing costs more than verifying, and the texts are the operators' few."""

KEY_ID: Final = "keyid="

_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, slots=True)
class Pin:
    """One public key that the operator trusts, and the gateway's id of it where that is known."""

    key: PublicKey
    keyid: str | None = None


def pins(secrets: Sequence[str], parse: Callable[[str], _Parsed | None]) -> list[_Parsed]:
    """Return what the secrets pin, in order. Raises `no_secret_configured` where none can be parsed."""
    parsed = [found for secret in secrets if (found := parse(secret)) is not None]
    if not parsed:
        raise InvalidSignature(Reason.NO_SECRET_CONFIGURED)
    return parsed


@lru_cache(PARSED_KEYS)
def pin(secret: str) -> Pin | None:
    """Return the pinned key that a secret writes, None where it writes none."""
    keyid, text = None, secret.strip()
    if text.startswith(KEY_ID):
        keyid, text = [*text.removeprefix(KEY_ID).split(maxsplit=1), "", ""][:2]
    key = public_key(text)
    return None if key is None else Pin(key, keyid)


def public_key(text: str) -> PublicKey | None:
    """Return the key that text writes: PEM public key, PEM certificate, or base64 of DER. None for anything else."""
    written = text.strip().encode("utf-8", "surrogatepass")
    try:
        if written.startswith(b"-----BEGIN CERTIFICATE-----"):
            key: object = x509.load_pem_x509_certificate(written).public_key()
        elif written.startswith(b"-----"):
            key = load_pem_public_key(written)
        else:
            key = load_der_public_key(binascii.a2b_base64(b"".join(written.split()), strict_mode=True))
    except (ValueError, TypeError, exceptions.UnsupportedAlgorithm):
        return None
    return key if isinstance(key, PublicKey) else None


def chosen(pinned: Iterable[Pin], keyid: str) -> list[PublicKey]:
    """Return the keys that answer to this id. Raises `unknown_key`."""
    keys = [found.key for found in pinned if found.keyid in (None, keyid)]
    if not keys:
        raise InvalidSignature(Reason.UNKNOWN_KEY)
    return keys


def iso_seconds(text: bytes) -> int:
    """Return a time written in ISO 8601, UTC where it names no offset, in unix seconds. Raises `malformed_header`."""
    try:
        moment = datetime.fromisoformat(text.decode("ascii"))
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise InvalidSignature(Reason.MALFORMED_HEADER) from None


class Seal(Protocol):
    """One way of signing, from the verifier's side."""

    def __call__(self, key: PublicKey, signature: bytes, message: bytes) -> bool:
        """Say whether the holder of the key has signed the message."""
        ...


def prove(keys: Iterable[PublicKey], signature: bytes, message: bytes, seal: Seal) -> None:
    """Return when any of the keys has signed the message. Raises `signature_mismatch`."""
    if not any(seal(key, signature, message) for key in keys):
        raise InvalidSignature(Reason.SIGNATURE_MISMATCH)


def rsa_pkcs1(digest: HashAlgorithm) -> Seal:
    """RSA with PKCS#1 v1.5 padding."""
    return _rsa(PKCS1v15(), digest)


def rsa_pss(digest: HashAlgorithm) -> Seal:
    """RSA-PSS with the digest in the mask too, and a salt as long as the digest."""
    return _rsa(PSS(MGF1(digest), digest.digest_size), digest)


def _rsa(padding: AsymmetricPadding, digest: HashAlgorithm) -> Seal:
    def seal(key: PublicKey, signature: bytes, message: bytes) -> bool:
        return isinstance(key, RSAPublicKey) and _holds(lambda: key.verify(signature, message, padding, digest))

    return seal


def ecdsa_der(curve: EllipticCurve, digest: HashAlgorithm) -> Seal:
    """ECDSA whose signature is the DER of (r, s), as most libraries write it."""
    algorithm = ECDSA(digest)

    def seal(key: PublicKey, signature: bytes, message: bytes) -> bool:
        if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != curve.name:
            return False
        return _holds(lambda: key.verify(signature, message, algorithm))

    return seal


def ecdsa_raw(curve: EllipticCurve, digest: HashAlgorithm) -> Seal:
    """ECDSA whose signature is r and s, each as long as the curve's field, as JOSE and RFC 9421 write it."""
    der, size = ecdsa_der(curve, digest), (curve.key_size + 7) // 8

    def seal(key: PublicKey, signature: bytes, message: bytes) -> bool:
        if len(signature) != 2 * size:
            return False
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        return der(key, encode_dss_signature(r, s), message)

    return seal


def ed25519(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Ed25519; a `Seal` itself, for it leaves nothing to choose."""
    return isinstance(key, Ed25519PublicKey) and _holds(lambda: key.verify(signature, message))


def _holds(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except (exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm, ValueError):
        return False
    return True
