"""Cashfree's webhooks of version 1: a form, or JSON, whose signature is one of its own fields.

https://www.cashfree.com/docs/api-reference/payouts/v2/webhooks/webhooks-v1

The signature covers the values sorted by name and run together, neither names nor limits. Whoever saw one message can
cut the same text into other fields: `referenceId` 123 and `transferId` 45 may as well be 12 and 345. So only what no
cut can turn into something else is read: the word of the event, its one-digit `acknowledged`, and our own key, of which
none begins or ends another. Not Cashfree's id, not the time, no text for people.
"""

import re
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

from connectors._base import InvalidSignature, PayoutUpdate, Reason, UnreadableEvent, Verified
from connectors._json import Fields, digest_key, exact_document, status_of
from connectors._signatures import BASE64, prove_hmac, utf8
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "TRANSFER_APPROVED": PayoutStatus.PENDING,
    "TRANSFER_SUCCESS": PayoutStatus.BROADCAST,
    "TRANSFER_ACKNOWLEDGED": PayoutStatus.DELIVERED,
    "TRANSFER_FAILED": PayoutStatus.FAILED,
    "TRANSFER_REVERSED": PayoutStatus.RETURNED,
    "TRANSFER_REJECTED": PayoutStatus.FAILED,
}

MAX_FIELDS: Final = 64

_TORN: Final = re.compile(rb"%.?(?:&|\Z)", re.DOTALL)
"""The beginning of a quoted byte at the end of a value."""


def verify_v1(body: bytes, keys: Sequence[bytes]) -> Verified:
    """Field `signature`: base64 of HMAC-SHA256 over all other values. No time is signed."""
    try:
        sealed, signature = _sealed(body)
    except UnreadableEvent:
        raise InvalidSignature(Reason.MALFORMED_HEADER) from None
    if not signature:
        raise InvalidSignature(Reason.MISSING_HEADER)
    prove_hmac([signature], BASE64, keys, sealed)
    return Verified()


def key_of_v1(body: bytes) -> str:
    """Return the event key: a digest of the sealed text, which no other cut of it changes. Raises `UnreadableEvent`."""
    return "v1:" + digest_key(_sealed(body)[0])


def read_v1(body: bytes, other_subjects: Collection[str]) -> list[PayoutUpdate]:
    """Read a transfer event."""
    fields = Fields(_fields(body))
    said = fields.text("event")
    if said in other_subjects:
        return []
    status = status_of(said, STATUSES)
    if said == "TRANSFER_SUCCESS" and fields.maybe_text("acknowledged") == "1":
        status = PayoutStatus.DELIVERED
    return [PayoutUpdate(reference=None, order_key=fields.text("transferId"), status=status, said=said)]


def _sealed(body: bytes) -> tuple[bytes, bytes]:
    """Return the values sorted by name and run together, and the signature, which is not among them."""
    if _is_json(body):
        texts = _fields(body)
        signature = utf8(texts.pop("signature", ""))
        return utf8("".join([texts[name] for name in sorted(texts)])), signature
    quoted = _quoted(body)
    signature = quoted.pop(b"signature", b"")
    return _plain(b"".join([quoted[name] for name in sorted(quoted)])), _plain(signature)


def _quoted(body: bytes) -> dict[bytes, bytes]:
    """Return the fields of a form as they came. Raises `UnreadableEvent`, also for what no encoder writes.

    Names need no quoting. And no value may end in the middle of a quoted byte: run together with the next one, it could
    become another. Then all values are unquoted at once, which is most of the speed.
    """
    pairs = [pair.split(b"=", 1) for pair in body.split(b"&", MAX_FIELDS)]
    try:
        fields = dict(pairs)
    except ValueError:
        raise UnreadableEvent("the body is no form") from None
    if len(fields) != len(pairs) or len(pairs) > MAX_FIELDS or b"%" in b"".join(fields) or _TORN.search(body):
        raise UnreadableEvent("the form is not as an encoder writes it")
    return fields


def _plain(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _is_json(body: bytes) -> bool:
    return body.lstrip()[:1] == b"{"


def _fields(body: bytes) -> dict[str, str]:
    """Return names and values as text. Raises `UnreadableEvent`, also for a name that comes twice."""
    if _is_json(body):
        return {name: _text(value) for name, value in exact_document(body).items()}
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise UnreadableEvent("the body is no form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise UnreadableEvent("the form has a name twice")
    return fields


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise UnreadableEvent("a field is neither text nor a number")
    return str(value)
