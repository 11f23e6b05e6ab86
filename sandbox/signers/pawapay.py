"""pawaPay: HTTP message signatures (RFC 9421) over a callback, ECDSA in the encoding of the platform, which is DER.

https://docs.pawapay.io/using_the_api#signatures
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256, sha512
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

COVERED: Final = (
    *("@method", "@authority", "@path"),
    *("signature-date", "content-digest", "content-type", "content-length"),
)

Sign = Callable[[bytes], bytes]


def ecdsa(key: ec.EllipticCurvePrivateKey, *, is_der: bool = True) -> Sign:
    """Return the signing of P-256 with SHA-256 or P-384 with SHA-384."""
    digest = hashes.SHA256() if key.curve.key_size == 256 else hashes.SHA384()  # noqa: PLR2004 - P-256
    size = key.curve.key_size // 8

    def sign(base: bytes) -> bytes:
        der = key.sign(base, ec.ECDSA(digest))
        r, s = utils.decode_dss_signature(der)
        return der if is_der else r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign


def rsa_v1_5(key: rsa.RSAPrivateKey) -> Sign:
    """Return the signing of rsa-v1_5-sha256."""
    return lambda base: key.sign(base, padding.PKCS1v15(), hashes.SHA256())


def rsa_pss(key: rsa.RSAPrivateKey) -> Sign:
    """Return the signing of rsa-pss-sha512, with a salt of 64 bytes."""
    return lambda base: key.sign(base, padding.PSS(padding.MGF1(hashes.SHA512()), 64), hashes.SHA512())


def own_headers(body: bytes, at: datetime, digest: str = "sha-512") -> dict[str, str]:
    """Return the headers of a callback that get signed."""
    digested = {"sha-256": sha256, "sha-512": sha512}[digest](body).digest()
    return {
        "Signature-Date": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "Content-Digest": f"{digest}=:{b64encode(digested).decode()}:",
        "Content-Type": "application/json; charset=UTF-8",
        "Content-Length": str(len(body)),
    }


def signed(
    own: Mapping[str, str],
    sign: Sign,
    *,
    authority: str,
    path: str,
    parameters: str,
    covered: tuple[str, ...] = COVERED,
) -> dict[str, str]:
    """Return a callback's headers with `Signature-Input` and `Signature`; `parameters` is `created=1;keyid="…"`."""
    known = {name.lower(): value for name, value in own.items()}
    known |= {"@method": "POST", "@authority": authority, "@path": path, "@query": "?"}
    described = f"({' '.join(f'{chr(34)}{name}{chr(34)}' for name in covered)});{parameters}"
    lines = [f'"{name}": {known[name]}' for name in covered] + [f'"@signature-params": {described}']
    signature = b64encode(sign("\n".join(lines).encode())).decode()
    return {**own, "Signature-Input": f"sig-pp={described}", "Signature": f"sig-pp=:{signature}:"}
