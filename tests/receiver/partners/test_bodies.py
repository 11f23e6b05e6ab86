"""JSON that two readers could take for two things is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.partners.bodies import canonical
from receiver.partners.refusals import Refusal


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}{}",
        b"\xff",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b'{"deep": {"a": 1, "a": 1}}',
        rb'{"a": "\ud800"}',
        rb'{"\udfff": 1}',
        b'{"a": 18446744073709551616}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 33 + b"]" * 33,
        b"[" * 30_000 + b"]" * 30_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"'a'",
        b"\xef\xbb\xbf{}",
    ],
)
def test_it_is_refused_and_never_fails(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        canonical(body)

    assert refused.value.code == "malformed_json"
    assert refused.value.detail


def test_the_same_value_is_written_in_one_way() -> None:
    assert canonical(b'{"b": 1,\n "a": "\\u0041"}') == canonical(b'{"a":"A","b":1}') == b'{"a":"A","b":1}'


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        value = canonical(body)
    except Refusal:
        return
    assert canonical(value) == value


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(), st.lists))
def test_what_json_can_hold_is_kept(value: object) -> None:
    try:
        kept = json.loads(canonical(json.dumps(value).encode()))
    except Refusal as refusal:
        assert refusal.detail  # noqa: PT017 (deeper than the bound)
        return
    assert kept == value
