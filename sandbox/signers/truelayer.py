"""TrueLayer: a JWS by ES512 without its payload, which is method, path, some headers and the body.

https://github.com/TrueLayer/truelayer-signing
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils


def claims(key_id: str, signed_headers: Mapping[str, str], jku: str | None) -> dict[str, Any]:
    """Return the JWS header of an honest webhook."""
    claimed = {"alg": "ES512", "kid": key_id, "tl_version": "2", "tl_headers": ",".join(signed_headers)}
    return claimed | ({"jku": jku} if jku else {})


def signature(
    body: bytes,
    key: ec.EllipticCurvePrivateKey,
    claimed: Mapping[str, Any],
    path: str,
    signed_headers: Mapping[str, str],
) -> str:
    """Return the value of `Tl-Signature` for a POST to `path`, whatever it claims."""
    lines = [f"POST {path}", *(f"{name}: {value}" for name, value in signed_headers.items())]
    payload = "".join(f"{line}\n" for line in lines).encode() + body
    protected = _text(json.dumps(claimed, separators=(",", ":")).encode())
    der = key.sign(f"{protected}.{_text(payload)}".encode(), ec.ECDSA(hashes.SHA512()))
    r, s = utils.decode_dss_signature(der)
    return f"{protected}..{_text(r.to_bytes(66, 'big') + s.to_bytes(66, 'big'))}"


def _text(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")
