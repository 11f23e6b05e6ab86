"""News of a payout that nobody knows, signed as its gateway would: for trying a receiver out.

Every id in it begins with the marker that the caller chooses, so that whoever finds it later knows where it came from.
A signature needs the gateway's secret. Where the gateway signs with a private key of its own, nobody but it can sign.
`options` are what the integration has agreed with its gateway: a header's name, a version, the path of a field.
"""

import base64
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sandbox.php import as_php
from sandbox.signers import (
    adyen,
    bridgerpay,
    cashfree,
    coinbase,
    fedapay,
    modern_treasury,
    mollie,
    paycore,
    razorpay,
    standard_webhooks,
    stripe,
)
from sandbox.world import iso

Options = Mapping[str, Any]
Sign = Callable[[bytes, str, float], list[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class News:
    """One request as a gateway would send it."""

    headers: list[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)


class OnlyTheGatewaySigns(LookupError):
    """The gateway signs with a private key, which nobody else has."""


class NoSample(LookupError):
    """Nobody has written yet what this gateway would send."""


SIGNS_ITSELF: Final = frozenset({"circle", "ebanx", "pawapay", "paypal", "truelayer", "wise"})
"""Gateways that sign with a private key of their own."""


def signed(gateway: str, secret: str, marker: str, at: float, options: Options) -> News:
    """Return news signed with the shared secret, at a unix time. Raises `OnlyTheGatewaySigns` or `NoSample`."""
    if gateway in SIGNS_ITSELF or secret.strip().startswith("whpk_"):
        raise OnlyTheGatewaySigns(gateway)
    if gateway not in _WRITERS:
        raise NoSample(f"no sample of {gateway} to send: write one in sandbox/news.py, or a forgery in forgeries.py")
    return _WRITERS[gateway](secret, marker, at, options)


def a_stranger_to(gateway: str) -> str:
    """Return a secret of the form that the gateway's have, which nobody has agreed on."""
    if gateway == "adyen":
        return secrets.token_hex(32).upper()
    if gateway in {"zopay", "standard_webhooks"}:
        return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_hex(24)


def headed(headers: Iterable[tuple[str, str]], body: bytes) -> News:
    """Return a request with these headers, and with a content type if it is not among them."""
    named = {"content-type": "application/json"} | {name.lower(): value for name, value in headers}
    return News(list(named.items()), body)


def _headed(write: Callable[[str, float], Any], sign: Sign) -> Callable[[str, str, float, Options], News]:
    """Return a writer of JSON whose signature stands in headers."""

    def written(secret: str, marker: str, at: float, options: Options) -> News:
        del options
        return _news(_json(write(marker, at)), sign, secret, at)

    return written


def _news(body: bytes, sign: Sign, secret: str, at: float) -> News:
    return headed(sign(body, secret, at), body)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _mollie(marker: str, at: float) -> Any:
    entity = {"resource": "payout", "id": marker, "status": "initiated", "mode": "test", "createdAt": iso(at)}
    event = {"resource": "event", "id": f"event_{marker}", "type": "payout.initiated", "entityId": marker}
    return {**event, "createdAt": iso(at), "_embedded": {"entity": entity}}


def _fedapay(marker: str, at: float) -> Any:
    entity = {"klass": "v1/payout", "id": marker, "status": "processing", "merchant_reference": marker}
    return {"klass": "v1/event", "id": marker, "name": "payout.updated", "entity": entity, "created_at": iso(at)}


def _zopay(marker: str, at: float) -> Any:
    event = {"id": f"evt_{marker}", "type": "payout.broadcast", "created_at": iso(at)}
    return {**event, "data": {"id": marker, "status": "broadcast"}}


def _stripe(marker: str, at: float) -> Any:
    payout = {"id": marker, "object": "payout", "amount": 100, "currency": "eur", "status": "pending", "metadata": {}}
    event = {"id": f"evt_{marker}", "object": "event", "type": "payout.updated", "created": int(at), "livemode": False}
    return {**event, "data": {"object": payout}}


def _razorpay(marker: str, at: float) -> Any:
    payout = {"id": marker, "entity": "payout", "amount": 100, "currency": "INR", "status": "queued"}
    event = {"entity": "event", "event": "payout.queued", "contains": ["payout"], "created_at": int(at)}
    return {**event, "payload": {"payout": {"entity": payout}}}


def _modern_treasury(marker: str, at: float) -> Any:
    order = {"id": marker, "object": "payment_order", "direction": "credit", "status": "pending", "metadata": {}}
    return {"event": "updated", "data": {**order, "amount": 100, "currency": "USD", "updated_at": iso(at)}}


def _coinbase(marker: str, at: float) -> Any:
    transfer = {"transferId": marker, "status": "processing", "source": {"accountId": marker, "asset": "usdc"}}
    event = {"eventId": marker, "eventType": "payments.transfers.processing", "timestamp": iso(at)}
    return {**event, "data": transfer}


def _paycore(secret: str, marker: str, at: float, options: Options) -> News:
    del options
    attributes = {"status": "processing", "reference_id": marker, "created": int(at), "updated": int(at), "fields": {}}
    invoice = {"type": "payout-invoices", "id": marker, "attributes": attributes}
    return _news(as_php({"data": invoice}), paycore.sign, secret, at)


def _bridgerpay(secret: str, marker: str, at: float, options: Options) -> News:
    charge: dict[str, Any] = {
        "type": "in_process",
        "id": marker,
        "operation_type": "payout",
        "attributes": {"status": "in_process"},
    }
    news = {"webhook": {"type": "in_process"}, "data": {"order_id": marker, "charge": charge}}
    agreed = {part: options[f"signature_{word}"] for part, word in _AGREED.items() if f"signature_{word}" in options}
    return _news(_json({**news, "meta": {"server_time": int(at)}}), partial(bridgerpay.sign, **agreed), secret, at)


def _adyen(secret: str, marker: str, at: float, options: Options) -> News:
    if not options.get("can_read", True):  # the classic API, whose items carry their own signatures
        item: dict[str, Any] = {"pspReference": marker, "merchantReference": marker, "merchantAccountCode": "ratchet"}
        item |= {"eventCode": "PAYOUT_THIRDPARTY", "success": "true"}
        return News([("Content-Type", "application/json")], adyen.sign_items([item], secret))
    category = str(options.get("categories", "bank")).split(",", maxsplit=1)[0]
    transfer: dict[str, Any] = {
        "id": marker,
        "category": category,
        "direction": "outgoing",
        "status": "received",
        "reference": marker,
    }
    transfer |= {"sequenceNumber": 1, "updatedAt": iso(at)}
    body = _json({"type": "balancePlatform.transfer.created", "environment": "test", "data": transfer})
    return _news(body, adyen.sign, secret, at)


def _cashfree(secret: str, marker: str, at: float, options: Options) -> News:
    if options.get("version") == "v1":
        fields = {"event": "TRANSFER_APPROVED", "transferId": marker, "eventTime": iso(at)}
        return News([("Content-Type", "application/x-www-form-urlencoded")], cashfree.sign_v1(fields, secret))
    transfer = {"transfer_id": marker, "cf_transfer_id": marker, "status": "PENDING"}
    body = _json({"type": "TRANSFER_APPROVED", "event_time": iso(at), "data": transfer})
    return _news(body, cashfree.sign, secret, at)


def _standard_webhooks(secret: str, marker: str, at: float, options: Options) -> News:
    """Write each field where the integration reads it, with a word that it knows."""
    words = options.get("statuses") or {}
    known = [pair.partition("=")[0].strip() for pair in words.split(",")] if isinstance(words, str) else list(words)
    said = {
        "type_path": f"{options.get('event_prefix', 'payout.')}checked",
        "id_path": marker,
        "order_key_path": marker,
        "status_path": known[0] if known and known[0] else "pending",
        "occurred_at_path": iso(at),
    }
    message: dict[str, Any] = {}
    for name, value in said.items():
        path = str(options.get(name, _PATHS[name]))
        if path:
            _put(message, path.split("."), value)
    sign = partial(standard_webhooks.sign, message_id=f"msg_{marker}")
    return _news(_json(message), sign, secret, at)


def _put(into: dict[str, Any], path: list[str], value: str) -> None:
    *holders, name = path
    for holder in holders:
        into = into.setdefault(holder, {})
    into[name] = value


_COVERED: Final[Mapping[str, str]] = {"content-type": "application/json"}
_AGREED: Final = {"name": "header", "algorithm": "algorithm", "encoding": "encoding"}
_PATHS: Final = {
    "type_path": "type",
    "id_path": "data.id",
    "order_key_path": "data.reference",
    "status_path": "data.status",
    "occurred_at_path": "timestamp",
}
_WRITERS: Final[Mapping[str, Callable[[str, str, float, Options], News]]] = {
    "mollie": _headed(_mollie, mollie.sign),
    "fedapay": _headed(_fedapay, fedapay.sign),
    "paycore": _paycore,
    "zopay": _headed(_zopay, lambda body, secret, at: standard_webhooks.sign(body, secret, at, json.loads(body)["id"])),
    "bridgerpay": _bridgerpay,
    "stripe": _headed(_stripe, stripe.sign),
    "adyen": _adyen,
    "razorpay": _headed(_razorpay, razorpay.sign),
    "cashfree": _cashfree,
    "modern_treasury": _headed(_modern_treasury, modern_treasury.sign),
    "coinbase": _headed(_coinbase, lambda body, secret, at: coinbase.sign(body, secret, at, _COVERED)),
    "standard_webhooks": _standard_webhooks,
}
