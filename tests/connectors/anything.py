"""Anything a stranger or a confused gateway may send, and what must come of it whatever it is."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from connectors._base import PayoutUpdate, UnreadableEvent
from models.lifecycle import PayoutStatus
from tests.connectors.sample import connector_of

PIECES = [
    *(b"t=", b"s=", b"h=", b"v0=", b"v1=", b"v1,", b"v1a,", b"sha256=", b"=", b",", b".", b" ", b"\0", b"\xff"),
    *(b"1", b"ab", b"AAAA", b"AA==", b"9" * 10, b"9" * 5_000, b"-1", b"HmacSHA256", b"host", b"x-" * 50),
]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**30, max_value=10**40)
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["", "NaN", "-1", "1e999999999", "99999999999999999999", "2026-13-01", "\0", "1_0", "٣"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) of a JSON value."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def with_a_leaf_replaced(body: bytes, choice: int, value: Any) -> bytes:
    message = json.loads(body)
    found = places(message)
    container, key = found[choice % len(found)]
    container[key] = value
    return json.dumps(message).encode()


def assert_storable(text: str | None) -> None:
    """PostgreSQL takes it, an index holds it."""
    if text is not None:
        assert len(text) <= 255
        assert "\0" not in text
        text.encode()


def assert_read_or_unreadable(name: str, body: bytes) -> None:
    try:
        updates = connector_of(name).parse(body)
    except UnreadableEvent:
        return
    for update in updates:
        assert_well_formed(update)


def assert_well_formed(update: PayoutUpdate) -> None:
    assert isinstance(update.status, PayoutStatus | None)
    for text in (update.reference, update.order_key, update.said, update.failure_code, update.currency):
        assert_storable(text)
    for amount in (update.amount_minor, update.processed_amount_minor):
        assert amount is None or (type(amount) is int and 0 <= amount <= Decimal(10) ** 18)
    assert update.occurred_at is None or update.occurred_at.utcoffset() == timedelta()
