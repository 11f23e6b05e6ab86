"""EBANX: payouts in Latin America. Listens only.

https://docs.ebanx.com/docs/payout/general/notification and https://docs.ebanx.com/docs/payout/general/consultPayout

The webhook secret is EBANX's notification certificate as PEM; `X-SignatureFingerprint` chooses among several. Its dates
are not looked at: EBANX publishes one certificate, and the operator pins that one. The signature is SHA-1, which is
accepted here and nowhere else: it is all that EBANX offers, and who cannot make EBANX sign a text of his own cannot
use a collision. Besides, a notification only names payouts and never says how they are: it makes us ask.

Two notifications about the same payouts are the same bytes, even where the status has changed in between. So the same
bytes are another hint a minute later (`REPEATS_ARE_NEWS`).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlencode

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1

from connectors._asymmetric import PARSED_KEYS, Pin, chosen, pins, prove, public_key, rsa_pkcs1
from connectors._base import (
    Connector,
    GatewayUnavailable,
    Http,
    InvalidSignature,
    NotFound,
    PayoutUpdate,
    Reason,
    UnreadableEvent,
    Verified,
    WebhookRequest,
)
from connectors._calls import credential, is_accepted, prepare, unreadable_means
from connectors._json import Fields, digest_key, document, event_key, exact_document, status_of
from connectors._signatures import decoded, from_base64
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "PE": PayoutStatus.PENDING,
    "PA": PayoutStatus.DELIVERED,
    "CA": PayoutStatus.CANCELED,
}
"""The words of the answer to our question. CA after PA is a return: that is their join."""

SEAL: Final = rsa_pkcs1(SHA1())  # noqa: S303 - EBANX signs by nothing else

SIGNATURE_TYPE: Final = b"rsa,sha1"

MAX_CODES: Final = 1000
"""Payouts that one notification may name."""

_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)


class Ebanx(Connector):
    """One EBANX account."""

    name = "ebanx"
    DOCUMENTATION = "https://docs.ebanx.com/docs/payout/general/notification"
    BASE_URL = "https://api.ebanx.com"
    CREDENTIALS = ("integration_key",)
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "operation": "payout_status_change",  # ASSUMED, as the form around it: what `operation` says of payouts
        }
    )
    STATUSES = STATUSES
    REPEATS_ARE_NEWS = True
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(days=3),  # payouts are done in batches on business days
            PayoutStatus.SCHEDULED: timedelta(days=3),
            PayoutStatus.INITIATED: timedelta(days=3),
            PayoutStatus.BROADCAST: timedelta(days=3),
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`X-SignatureContent`: base64 of RSA PKCS#1 v1.5 with SHA-1 over the raw body."""
        del now
        pinned = pins(secrets, _certificate)
        content, kind, fingerprint = (_header(request, name) for name in (b"content", b"type", b"fingerprint"))
        if kind != SIGNATURE_TYPE:
            raise InvalidSignature(Reason.FORBIDDEN_ALGORITHM)
        (signature,) = decoded([content], from_base64)
        prove(chosen(pinned, fingerprint.decode("latin-1")), signature, request.body, SEAL)
        return Verified()

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return operation and hash codes: a notification holds nothing else."""
        try:
            notification = _notification(request.body)
            return event_key(request, notification.values.get("operation"), ",".join(_codes(notification)))
        except UnreadableEvent:
            return digest_key(request.body)

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read the hash codes. Each is a reason to ask, and nothing more."""
        notification = _notification(body)
        said = notification.text("operation")
        if said != self.option("operation"):
            return []
        return [PayoutUpdate(reference=code, status=None, said=said) for code in _codes(notification)]

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """POST /ws/payout/retrieve, which only reads, by EBANX's uid or by our key."""
        fields = {"integration_key": credential(self.account, "integration_key")}
        fields |= {"external_reference": order_key} if reference is None else {"uid": reference}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url = f"{self.base_url}/ws/payout/retrieve"
        reply = await prepare(http, url, headers=headers, body=urlencode(fields).encode("utf-8", "replace"))
        if reply.status == HTTPStatus.NOT_FOUND:
            return NotFound()
        if not is_accepted(reply):
            raise GatewayUnavailable(f"answered {reply.status}")
        with unreadable_means(GatewayUnavailable):
            return _update(Fields.of(exact_document(reply.body)))


@lru_cache(PARSED_KEYS)
def _certificate(secret: str) -> Pin | None:
    """Return a certificate's key under its fingerprint, None for text that is no certificate."""
    try:
        certificate = x509.load_pem_x509_certificate(secret.strip().encode("utf-8", "surrogatepass"))
    except ValueError:
        return None
    key = public_key(secret)
    fingerprint = certificate.fingerprint(SHA1()).hex().upper()  # noqa: S303 - a name among the pins, no proof
    return None if key is None else Pin(key, fingerprint)


def _header(request: WebhookRequest, name: bytes) -> bytes:
    """Return one header: EBANX's list writes X-SignatureContent, its sample code reads X-Signature-Content."""
    found = request.values(b"x-signature" + name) + request.values(b"x-signature-" + name)
    if len(found) != 1:
        raise InvalidSignature(Reason.MALFORMED_HEADER if found else Reason.MISSING_HEADER)
    return found[0]


def _notification(body: bytes) -> Fields:
    """Return a notification's fields, from a form or (ASSUMED too) from JSON."""
    if body.startswith(b"{"):
        return Fields.of(document(body))
    try:
        form = parse_qs(body.decode(), strict_parsing=True, max_num_fields=100)
    except ValueError:
        raise UnreadableEvent("the body is no form") from None
    return Fields({name: found[0] for name, found in form.items() if len(found) == 1})


def _codes(notification: Fields) -> list[str]:
    """Return the payouts that a notification names, separated by commas."""
    codes = (notification.prose("hash_codes", keep=MAX_CODES * 200) or "").split(",")
    if len(codes) > MAX_CODES or not all(_CODE.fullmatch(code) for code in codes):
        raise UnreadableEvent("hash_codes is no list of codes")
    return codes


def _update(answer: Fields) -> PayoutUpdate:
    """Return what EBANX answers. Field names are those of its request to create (ASSUMED)."""
    payout = answer.within("payout")
    said = payout.text("status")
    currency = payout.maybe_text("currency_code")
    return PayoutUpdate(
        reference=payout.text("uid"),
        order_key=payout.maybe_text("external_reference"),
        status=status_of(said, STATUSES),
        said=said,
        amount_minor=payout.amount("amount", currency),
        currency=currency,
    )
