"""Key pairs and certificates, made once for a run, with the texts in which an operator would pin them."""

from base64 import b64encode
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Headers = list[tuple[bytes, bytes]]

BEGINS = datetime(2026, 1, 1, tzinfo=UTC)
ENDS = datetime(2027, 1, 1, tzinfo=UTC)


@cache
def an_rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    del number
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def an_elliptic_key(curve: type[ec.EllipticCurve] = ec.SECP256R1, number: int = 0) -> ec.EllipticCurvePrivateKey:
    del number
    return ec.generate_private_key(curve())


def pem(key: PrivateKey) -> str:
    """Return the public half as PEM."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def spki(key: PrivateKey) -> str:
    """Return the public half as the base64 of its DER."""
    return b64encode(
        key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).decode()


def certificate_pem(*certificates: x509.Certificate) -> str:
    return "".join(found.public_bytes(serialization.Encoding.PEM).decode() for found in certificates)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def an_authority(
    key: rsa.RSAPrivateKey, name: str = "Root", by: tuple[rsa.RSAPrivateKey, str] | None = None
) -> x509.Certificate:
    """Return the certificate of an authority, its own root or vouched for by another."""
    issuer_key, issuer = by or (key, name)
    return (
        _a_certificate(key, named(name), issuer_key, issuer)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def a_leaf(
    key: PrivateKey,
    host: str,
    by: tuple[rsa.RSAPrivateKey, str],
    *,
    common_name: str | None = None,
    begins: datetime = BEGINS,
    ends: datetime = ENDS,
) -> x509.Certificate:
    """Return the certificate of a host, vouched for by an authority."""
    issuer_key, issuer = by
    return (
        _a_certificate(key, named(common_name or host), issuer_key, issuer, begins, ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_usage(is_authority=False), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def _a_certificate(
    key: PrivateKey,
    subject: x509.Name,
    issuer_key: rsa.RSAPrivateKey,
    issuer: str,
    begins: datetime = BEGINS,
    ends: datetime = ENDS,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def as_arrived(headers: dict[str, str]) -> Headers:
    """Return headers as ASGI gives them."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
