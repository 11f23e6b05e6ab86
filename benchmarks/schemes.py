"""One signed request for every signature scheme, as its gateway would send it, and the connector that verifies it.

Every body is the one of `traffic`, unless the signature stands in the body and covers its fields. Keys are made here;
the signers are the sandbox's, written from the gateways' documentation and not from the connectors.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from benchmarks.traffic import Webhook
from connectors import connector_class
from connectors._base import Account, Connector, WebhookRequest
from sandbox.signers import (
    adyen,
    bridgerpay,
    cashfree,
    circle,
    coinbase,
    ebanx,
    fedapay,
    modern_treasury,
    mollie,
    pawapay,
    paycore,
    paypal,
    razorpay,
    standard_webhooks,
    stripe,
    truelayer,
    wise,
)

PATH: Final = "/webhooks/account"
HOST: Final = "hooks.example.test"
BODY: Final = Webhook(1, 2).body()
SECRET: Final = "a-webhook-secret-for-benchmarks"  # noqa: S105 (invented)
BASE64_SECRET: Final = "whsec_" + b64encode(b"an invented key of 32 bytes, so.").decode()
HEX_SECRET: Final = "A1" * 32
ITEM: Final = {
    "additionalData": {"acquirerReference": "invented"},
    "amount": {"currency": "EUR", "value": 25000},
    "eventCode": "PAYOUT_THIRDPARTY",
    "eventDate": "2026-05-12T11:14:00+02:00",
    "merchantAccountCode": "InventedMerchant",
    "merchantReference": "pay_01JX",
    "originalReference": "8815131768219972",
    "pspReference": "8815131768219992",
    "reason": "",
    "success": "true",
}
FORM: Final = {
    "event": "TRANSFER_SUCCESS",
    "transferId": "pay_01JX",
    "referenceId": "187365",
    "acknowledged": "1",
    "eventTime": "2026-05-12 14:44:00",
    "utr": "1387420170430008800069857",
}


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way of signing, ready to be verified."""

    name: str
    connector: Connector
    request: WebhookRequest
    secrets: tuple[str, ...] = field(repr=False)

    def verify(self, now: datetime) -> None:
        """Verify the request. Raises `InvalidSignature` if the benchmark is wrong."""
        self.connector.verify(self.request, self.secrets, now)


Headers = Iterable[tuple[str, str]]


def shared_secret(at: float) -> list[Scheme]:
    """Return the schemes whose secret both sides know: HMAC, and PayCore's plain hash."""
    plain: dict[str, Callable[[bytes, str, float], Headers]] = {
        "mollie": mollie.sign,
        "fedapay": fedapay.sign,
        "paycore": paycore.sign,
        "bridgerpay": bridgerpay.sign,
        "stripe": stripe.sign,
        "razorpay": razorpay.sign,
        "cashfree": cashfree.sign,
        "modern_treasury": modern_treasury.sign,
        "coinbase": coinbase.sign,
    }
    standard = standard_webhooks.sign(BODY, BASE64_SECRET, at)
    return [
        *[_scheme(name, name, sign(BODY, SECRET, at), SECRET) for name, sign in plain.items()],
        _scheme("zopay", "zopay", standard, BASE64_SECRET),
        _scheme("standard_webhooks v1", "standard_webhooks", standard, BASE64_SECRET),
        _scheme("adyen transfer", "adyen", adyen.sign(BODY, HEX_SECRET, at), HEX_SECRET),
        _scheme("adyen item", "adyen", [], HEX_SECRET, body=adyen.sign_items([ITEM], HEX_SECRET)),
        _scheme("cashfree v1", "cashfree", [], SECRET, body=cashfree.sign_v1(FORM, SECRET), version="v1"),
    ]


def private_key(at: float) -> list[Scheme]:
    """Return the schemes whose gateway signs with a private key."""
    return [_v1a(at), _wise(), _circle(), _ebanx(), _paypal(at), _truelayer(at), _pawapay(at)]


def _scheme(name: str, connector: str, headers: Headers, secret: str, *, body: bytes = BODY, **options: Any) -> Scheme:
    """Return a scheme, its signature among the headers that every client sends."""
    common = {"host": HOST, "user-agent": "Gateway/1.0", "accept": "*/*", "accept-encoding": "gzip, deflate"}
    common |= {"content-type": "application/json", "content-length": str(len(body))}
    own = {name.lower(): value for name, value in headers}
    arrived = [(name.encode(), value.encode()) for name, value in (common | own).items()]
    request = WebhookRequest(arrived, body, path=PATH)
    return Scheme(name, connector_class(connector)(Account(options=options)), request, (secret,))


def _v1a(at: float) -> Scheme:
    key = ed25519.Ed25519PrivateKey.generate()
    public = "whpk_" + b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    return _scheme("standard_webhooks v1a", "standard_webhooks", standard_webhooks.sign_v1a(BODY, key, at), public)


def _wise() -> Scheme:
    key = _an_rsa_key()
    return _scheme("wise", "wise", wise.sign(BODY, key).items(), _spki(key.public_key()))


def _circle() -> Scheme:
    key = ec.generate_private_key(ec.SECP256R1())
    return _scheme("circle", "circle", circle.sign(BODY, key, "k1").items(), f"keyid=k1 {_spki(key.public_key())}")


def _ebanx() -> Scheme:
    key = _an_rsa_key()
    certificate = _a_certificate(key, "ebanx.example.test")
    headers = ebanx.sign(BODY, key, ebanx.fingerprint(certificate))
    return _scheme("ebanx", "ebanx", headers.items(), certificate.public_bytes(Encoding.PEM).decode())


def _paypal(at: float) -> Scheme:
    key = _an_rsa_key()
    certificate = _a_certificate(key, "messageverificationcerts.paypal.com")
    url = "https://api.paypal.com/v1/notifications/certs/CERT-invented"
    moment = datetime.fromtimestamp(at, UTC)
    headers = paypal.sign(BODY, key, cert_url=url, webhook_id="WH1", transmission_id="t-1", at=moment)
    pinned = certificate.public_bytes(Encoding.PEM).decode()
    return _scheme("paypal", "paypal", headers.items(), pinned, webhook_id="WH1")


def _truelayer(at: float) -> Scheme:
    key = ec.generate_private_key(ec.SECP521R1())
    numbers = key.public_key().public_numbers()
    x, y = (urlsafe_b64encode(each.to_bytes(66, "big")).decode().rstrip("=") for each in (numbers.x, numbers.y))
    jwks = {"keys": [{"kty": "EC", "alg": "ES512", "kid": "k1", "crv": "P-521", "x": x, "y": y}]}
    covered = {"X-Tl-Webhook-Timestamp": datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")}
    jku = str(connector_class("truelayer").OPTIONS["jku"])
    value = truelayer.signature(BODY, key, truelayer.claims("k1", covered, jku), PATH, covered)
    return _scheme("truelayer", "truelayer", {"Tl-Signature": value, **covered}.items(), json.dumps(jwks))


def _pawapay(at: float) -> Scheme:
    key = ec.generate_private_key(ec.SECP256R1())
    own = pawapay.own_headers(BODY, datetime.fromtimestamp(at, UTC))
    parameters = f'alg="ecdsa-p256-sha256";keyid="k1";created={int(at)};expires={int(at) + 86_400}'
    headers = pawapay.signed(own, pawapay.ecdsa(key), authority=HOST, path=PATH, parameters=parameters)
    return _scheme("pawapay", "pawapay", headers.items(), f"keyid=k1 {_spki(key.public_key())}", authority=HOST)


def _an_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    return b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def _a_certificate(key: rsa.RSAPrivateKey, host: str) -> x509.Certificate:
    """Return a host's certificate that vouches for itself, as a pinned one may."""
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), datetime.now(UTC)
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, SHA256())
    )
