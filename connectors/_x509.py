"""Certificates that the operator has pinned: a leaf, or a chain from the leaf up to the root that vouches for it.

Nothing is fetched, so nothing is revoked here either: whoever pins a certificate takes it out again. Building the path
costs several signature checks, so it is done once per chain and name; when the certificates are valid is compared on
every request.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from connectors._asymmetric import PARSED_KEYS, PublicKey
from connectors._base import InvalidSignature, Reason


@dataclass(frozen=True, slots=True)
class Chain:
    """Certificates, leaf first. The last is the anchor; alone, the leaf is its own."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate that signs."""
        return self.certificates[0]


@lru_cache(PARSED_KEYS)
def chain(text: str) -> Chain | None:
    """Return the chain that PEM text writes, None where it writes none."""
    try:
        certificates = tuple(x509.load_pem_x509_certificates(text.encode("utf-8", "surrogatepass")))
        public = isinstance(certificates[0].public_key(), PublicKey)
    except ValueError:
        return None
    return Chain(certificates) if public else None


def vouched_key(pinned: Chain, name: str, now: datetime) -> PublicKey:
    """Return the leaf's key, once the chain proves that it belongs to the host `name` and is valid now.

    Raises `untrusted_key_source`.
    """
    begins = max(certificate.not_valid_before_utc for certificate in pinned.certificates)
    ends = min(certificate.not_valid_after_utc for certificate in pinned.certificates)
    if not (begins <= now <= ends and _is_of(pinned, name) and _is_anchored(pinned, name, begins)):
        raise InvalidSignature(Reason.UNTRUSTED_KEY_SOURCE)
    key = pinned.leaf.public_key()
    assert isinstance(key, PublicKey)  # noqa: S101 - `chain` let no other in
    return key


def _is_of(pinned: Chain, name: str) -> bool:
    """Say whether the leaf is the host's: by its alternative names, and by its common name where it has one."""
    common = [attribute.value for attribute in pinned.leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        names = pinned.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = names.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        hosts = []
    return bool(common or hosts) and all(found == name for found in common) and (not hosts or name in hosts)


@lru_cache(PARSED_KEYS)
def _is_anchored(pinned: Chain, name: str, moment: datetime) -> bool:
    """Say whether a path leads from the leaf to the anchor, at a moment at which all of them are valid."""
    *rest, anchor = pinned.certificates
    if not rest:
        return True
    try:
        verifier = PolicyBuilder().store(Store([anchor])).time(moment).build_server_verifier(x509.DNSName(name))
        path = verifier.verify(pinned.leaf, rest[1:])
    except (VerificationError, ValueError):
        return False
    return path[-1].public_bytes(Encoding.DER) == anchor.public_bytes(Encoding.DER)
