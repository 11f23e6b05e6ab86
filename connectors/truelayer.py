"""TrueLayer: payouts by open banking in the UK and Europe. Listens only.

https://docs.truelayer.com/docs/payout-webhooks and https://github.com/TrueLayer/truelayer-signing

The webhook secret is TrueLayer's key set, the JSON of its `jku`, or one PEM public key, which answers to every key id.
The `jku` of a request must be the one of the environment and is never fetched. The signature covers method and path as
TrueLayer called them, so a proxy in front must not rewrite them.

`executed` means that the money has left, and nothing better is ever said, so it is DELIVERED; a bank that sends it
back turns it into `failed`, and the join of the two is RETURNED.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final

from connectors._asymmetric import iso_seconds, pins
from connectors._base import (
    Connector,
    Http,
    InvalidSignature,
    NotFound,
    PayoutUpdate,
    Reason,
    UnreadableEvent,
    Verified,
    WebhookRequest,
)
from connectors._calls import credential, fetch_one
from connectors._json import Fields, digest_key, document, event_key, status_of
from connectors._jws import Detached, JwkPin, elliptic_keys
from connectors._listening import currency_of, metadata_key, minor_units, path_id
from connectors._oauth import Authorized, Login
from connectors._signatures import fresh, only_value
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "pending": PayoutStatus.PENDING,
    "authorized": PayoutStatus.BROADCAST,
    "executed": PayoutStatus.DELIVERED,
    "failed": PayoutStatus.FAILED,
}

EVENTS: Final = "payout_"
"""What event types about payouts begin with; the rest of one is a word of `STATUSES`."""

ALGORITHM: Final = "ES512"

VERSION: Final = "2"
"""Version 1 signed the body alone."""

TIMESTAMP: Final = "x-tl-webhook-timestamp"

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
"""A header's name (RFC 9110, 5.6.2)."""


class TrueLayer(Connector):
    """One TrueLayer client."""

    name = "truelayer"
    DOCUMENTATION = "https://docs.truelayer.com/docs/payout-webhooks"
    BASE_URL = "https://api.truelayer.com"
    CREDENTIALS = ("client_id", "client_secret")
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "jku": "https://webhooks.truelayer.com/.well-known/jwks",  # exactly; None: there must be none
            "tolerance_seconds": 300,  # ASSUMED, both ways; None demands no timestamp either
            "required_headers": (),  # further headers that must be covered
            "auth_url": "https://auth.truelayer.com/connect/token",
            "scope": "payments",
            "metadata_key": "order_key",  # where whoever makes the payout writes our key
        }
    )
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(days=1),
            PayoutStatus.SCHEDULED: timedelta(days=1),
            PayoutStatus.INITIATED: timedelta(days=1),
            PayoutStatus.BROADCAST: timedelta(days=3),  # SEPA over a weekend
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`Tl-Signature`: detached JWS by ES512 over method, path, the headers in `tl_headers`, and the raw body."""
        pinned = [found for keys in pins(secrets, elliptic_keys) for found in keys]
        signature = Detached.read(only_value(request, b"tl-signature"))
        covered = self._covered(request, signature.header)
        keys = _chosen(pinned, signature.header.get("kid"))
        payloads = list(_payloads(request, covered))
        if not any(signature.is_by(key.key, payload, ALGORITHM) for key in keys for payload in payloads):
            raise InvalidSignature(Reason.SIGNATURE_MISMATCH)
        return Verified(self._signed_at(covered, now))

    def _covered(self, request: WebhookRequest, header: Mapping[str, Any]) -> dict[str, bytes]:
        """Return the covered headers, by their names as signed, of a signature that claims what it must."""
        if header.get("alg") != ALGORITHM:
            raise InvalidSignature(Reason.FORBIDDEN_ALGORITHM)
        names = header.get("tl_headers", "")
        if header.get("tl_version") != VERSION or not isinstance(names, str):
            raise InvalidSignature(Reason.MALFORMED_HEADER)
        if header.get("jku") != self.option("jku"):
            raise InvalidSignature(Reason.UNTRUSTED_KEY_SOURCE)
        spelled = names.split(",") if names else []
        required = {name.lower() for name in self.option("required_headers")}
        if self.option("tolerance_seconds") is not None:
            required.add(TIMESTAMP)
        if not required <= {name.lower() for name in spelled}:
            raise InvalidSignature(Reason.UNCOVERED_COMPONENT)
        if len({name.lower() for name in spelled}) != len(spelled) or not all(map(_NAME.fullmatch, spelled)):
            raise InvalidSignature(Reason.MALFORMED_HEADER)
        return {name: only_value(request, name.lower().encode()) for name in spelled}

    def _signed_at(self, covered: Mapping[str, bytes], now: datetime) -> datetime | None:
        times = [value for name, value in covered.items() if name.lower() == TIMESTAMP]
        return fresh(iso_seconds(times[0]), now, self.option("tolerance_seconds")) if times else None

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return the event's id, which stays the same over retries."""
        try:
            return event_key(request, Fields.of(document(request.body)).values.get("event_id"))
        except UnreadableEvent:
            return digest_key(request.body)

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read any `payout_*` event; amounts are not in it."""
        event = Fields.of(document(body))
        kind = event.text("type")
        if not kind.startswith(EVENTS):
            return []
        said = kind.removeprefix(EVENTS)
        return [
            PayoutUpdate(
                reference=event.text("payout_id"),
                order_key=metadata_key(event, self.option("metadata_key")),
                status=status_of(said, STATUSES),
                said=said,
                occurred_at=event.moment(f"{said}_at"),
                failure_code=event.maybe_text("failure_reason"),
            )
        ]

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /v3/payouts/{id}, behind a login."""
        del order_key
        form = {name: credential(self.account, name) for name in self.CREDENTIALS}
        form |= {"grant_type": "client_credentials", "scope": self.option("scope")}
        url = f"{self.base_url}/v3/payouts/{path_id(reference)}"
        return await fetch_one(Authorized(http, Login(self.option("auth_url"), form)), url, {}, self._read)

    def _read(self, body: bytes) -> PayoutUpdate:
        payout = Fields.of(document(body))
        said = payout.text("status")
        currency = currency_of(payout, "currency")
        return PayoutUpdate(
            reference=payout.text("id"),
            order_key=metadata_key(payout, self.option("metadata_key")),
            status=status_of(said, STATUSES),
            said=said,
            occurred_at=payout.moment(f"{said}_at"),
            amount_minor=minor_units(payout, "amount_in_minor", currency),
            currency=currency,
            failure_code=payout.maybe_text("failure_reason"),
        )


def _chosen(pinned: Sequence[JwkPin], keyid: object) -> list[JwkPin]:
    keys = [pin for pin in pinned if pin.keyid in (None, keyid)]
    if not isinstance(keyid, str) or not keys:
        raise InvalidSignature(Reason.UNKNOWN_KEY)
    return keys


def _payloads(request: WebhookRequest, covered: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield what may have been signed: the path as it came, and with its trailing slash put on or taken off."""
    head = b"".join(name.encode() + b": " + value + b"\n" for name, value in covered.items())
    other = request.path.removesuffix("/") if request.path.endswith("/") else f"{request.path}/"
    for path in (request.path, other):
        yield f"{request.method.upper()} {path}\n".encode("latin-1", "replace") + head + request.body
