"""Forged news: as near to the real thing as somebody gets who knows everything but the key.

A receiver must refuse every one of them. Key ids, certificates' names and URLs are public, so a forger has them: they
are read from what the operator has pinned.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sandbox.news import News, Options, a_stranger_to, headed, signed
from sandbox.signers import circle, ebanx, pawapay, paypal, standard_webhooks, truelayer, wise
from sandbox.world import iso


def forged(gateway: str, pinned: str, path: str, marker: str, at: float, options: Options) -> News:
    """Return news signed by a stranger; `pinned` is a secret of the integration's, of which only public parts are used.

    Raises `NoSample`.
    """
    forge = _FORGERS.get(gateway)
    if forge is None:
        return signed(gateway, a_stranger_to(gateway), marker, at, options)
    body, headers = forge(pinned, path, marker, at, options)
    return headed(headers.items(), body)


Forged = tuple[bytes, Mapping[str, str]]


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _an_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _keyid(pinned: str) -> str:
    """Return the id that stands before a pinned key, or one that nobody has."""
    first = (pinned.split() or [""])[0]
    return first.removeprefix("keyid=") if first.startswith("keyid=") else str(uuid.uuid4())


def _wise(pinned: str, path: str, marker: str, at: float, options: Options) -> Forged:
    del pinned, path
    resource = {"type": "transfer", "id": marker, "profile_id": options.get("profile_id") or 1}
    change = {"resource": resource, "current_state": "processing", "occurred_at": iso(at)}
    body = _json({"data": change, "event_type": "transfers#state-change", "schema_version": "2.0.0"})
    return body, wise.sign(body, _an_rsa_key())


def _circle(pinned: str, path: str, marker: str, at: float, options: Options) -> Forged:
    del path, at, options
    notification = {"id": marker, "status": "pending"}
    body = _json({"notificationId": marker, "notificationType": "payouts", "notification": notification, "version": 2})
    return body, circle.sign(body, ec.generate_private_key(ec.SECP256R1()), _keyid(pinned))


def _ebanx(pinned: str, path: str, marker: str, at: float, options: Options) -> Forged:
    del path, at
    operation = options.get("operation", "payout_status_change")
    body = _json({"operation": operation, "notification_type": "update", "hash_codes": marker})
    return body, ebanx.sign(body, _an_rsa_key(), _fingerprint(pinned))


def _fingerprint(pinned: str) -> str:
    """Return the fingerprint under which the pinned certificate is known, or one that nobody has."""
    try:
        return ebanx.fingerprint(x509.load_pem_x509_certificate(pinned.strip().encode()))
    except ValueError:
        return uuid.uuid4().hex.upper()


def _paypal(pinned: str, path: str, marker: str, at: float, options: Options) -> Forged:
    del path
    item = {"payout_item_id": marker, "transaction_status": "PENDING"}
    body = _json({"id": f"WH-{marker}", "event_type": "PAYMENT.PAYOUTS-ITEM.HELD", "resource": item})
    first = (pinned.split() or [""])[0]
    url = first if first.startswith("https://") else "https://api.paypal.com/v1/notifications/certs/CERT-forged"
    names = {"cert_url": url, "webhook_id": str(options.get("webhook_id")), "transmission_id": str(uuid.uuid4())}
    return body, paypal.sign(body, _an_rsa_key(), at=datetime.fromtimestamp(at, UTC), **names)


def _truelayer(pinned: str, path: str, marker: str, at: float, options: Options) -> Forged:
    body = _json({"type": "payout_failed", "event_id": marker, "payout_id": marker, "failed_at": iso(at)})
    covered = {"X-Tl-Webhook-Timestamp": iso(at), "Content-Type": "application/json"}
    claimed = truelayer.claims(_kid(pinned), covered, str(options.get("jku")))
    key = ec.generate_private_key(ec.SECP521R1())
    return body, {"Tl-Signature": truelayer.signature(body, key, claimed, path, covered), **covered}


def _kid(pinned: str) -> str:
    """Return an id of the pinned key set that a forger would choose, or one that nobody has."""
    try:
        keys = json.loads(pinned)["keys"]
        return str(next(key["kid"] for key in keys if key.get("crv") == "P-521"))
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration):
        return str(uuid.uuid4())


def _pawapay(pinned: str, path: str, marker: str, at: float, options: Options) -> Forged:
    body = _json({"payoutId": marker, "status": "PROCESSING", "created": iso(at)})
    own = pawapay.own_headers(body, datetime.fromtimestamp(at, UTC))
    parameters = f'alg="{options.get("algorithm")}";keyid="{_keyid(pinned)}";created={int(at)};expires={int(at) + 60}'
    sign = pawapay.ecdsa(ec.generate_private_key(ec.SECP256R1()), is_der=options.get("ecdsa_encoding") == "der")
    authority = str(options.get("authority"))
    return body, pawapay.signed(own, sign, authority=authority, path=path, parameters=parameters)


def _standard_webhooks(pinned: str, path: str, marker: str, at: float, options: Options) -> Forged:
    """Forge whichever of the two signatures the pinned secret is for."""
    del path
    news = signed("standard_webhooks", a_stranger_to("standard_webhooks"), marker, at, options)
    if not pinned.strip().startswith("whpk_"):
        return news.body, dict(news.headers)
    return news.body, dict(standard_webhooks.sign_v1a(news.body, Ed25519PrivateKey.generate(), at, f"msg_{marker}"))


_FORGERS: Final[Mapping[str, Callable[[str, str, str, float, Options], Forged]]] = {
    "wise": _wise,
    "circle": _circle,
    "ebanx": _ebanx,
    "paypal": _paypal,
    "truelayer": _truelayer,
    "pawapay": _pawapay,
    "standard_webhooks": _standard_webhooks,
}
