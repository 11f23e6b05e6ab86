"""The building blocks of signature schemes and their strictness. Known answers are in `test_vectors.py`."""

import hmac
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import _signatures as signatures
from connectors._base import InvalidSignature, Reason


@given(st.binary())
def test_hex_and_base64_are_read_back_as_they_were_written(found: bytes) -> None:
    assert signatures.from_hex(found.hex().encode()) == found
    assert signatures.from_base64(b64encode(found)) == found


@pytest.mark.parametrize("text", [b"AB", b"a", b"a b0", b"ab\n", b"0xab", b"\xff\xff", "٣٣".encode()])
def test_hex_has_one_way_of_writing(text: bytes) -> None:
    assert signatures.from_hex(text) is None


@pytest.mark.parametrize("text", [b"QQ", b"QQ=", b"QR==", b"QQ==\n", b" QQ==", b"Q-Q=", b"QQ==QQ==", b"\xff==="])
def test_base64_has_one_way_of_writing(text: bytes) -> None:
    assert signatures.from_base64(text) is None


@given(st.binary())
def test_no_text_stands_for_the_same_bytes_as_another(text: bytes) -> None:
    found = signatures.from_base64(text)

    assert found is None or b64encode(found) == text


def test_a_request_with_hundreds_of_signatures_is_malformed() -> None:
    with pytest.raises(InvalidSignature) as refused:
        signatures.decoded([b"ab"] * 17, signatures.from_hex)

    assert refused.value.reason is Reason.MALFORMED_HEADER


@pytest.mark.parametrize("text", [b"", b"-1", b"+1", b" 1", b"1.0", b"1_0", b"9" * 12, "\u0661".encode(), b"1e3"])
def test_a_time_is_ascii_digits_and_nothing_else(text: bytes) -> None:
    with pytest.raises(InvalidSignature) as refused:
        signatures.unix_seconds(text)

    assert refused.value.reason is Reason.MALFORMED_HEADER


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(699, Reason.TIMESTAMP_TOO_OLD), (1301, Reason.TIMESTAMP_IN_FUTURE), (700, None), (1300, None)],
)
def test_the_tolerance_holds_both_ways_and_includes_its_edge(seconds: int, reason: Reason | None) -> None:
    now = datetime.fromtimestamp(1000, UTC)

    if reason is None:
        assert signatures.fresh(seconds, now, 300).timestamp() == seconds
    else:
        with pytest.raises(InvalidSignature) as refused:
            signatures.fresh(seconds, now, 300)
        assert refused.value.reason is reason


def test_a_secret_that_is_no_utf_8_is_a_key_all_the_same() -> None:
    assert signatures.live_keys(["\ud800"]) == (b"\xed\xa0\x80",)


@pytest.mark.parametrize(
    ("text", "key"), [("A1b2", b"\xa1\xb2"), (" a1 ", b"\xa1"), ("a", None), ("zz", None), ("", b""), ("é", None)]
)
def test_a_hex_key_is_hex_of_either_case(text: str, key: bytes | None) -> None:
    assert signatures.hex_key(text) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("whsec_YWI=", b"ab"),
        ("whsec_YWI", b"ab"),
        ("YWI=", b"ab"),
        ("whsec_", b""),
        ("Y-I=", None),
        ("é", None),
        ("Y", None),
    ],
)
def test_a_base64_key_may_lack_its_prefix_and_its_padding(text: str, key: bytes | None) -> None:
    assert signatures.base64_key(text, "whsec_") == key


def test_a_key_that_is_empty_once_decoded_is_none() -> None:
    with pytest.raises(InvalidSignature) as refused:
        signatures.live_keys(["whsec_", "whsec_===="], lambda secret: signatures.base64_key(secret, "whsec_"))

    assert refused.value.reason is Reason.NO_SECRET_CONFIGURED


def test_a_list_says_under_each_tag_all_it_says_and_nothing_without_one() -> None:
    assert signatures.tagged(b"t=1,s=a,,s=b,x,s==,=y") == {b"t": [b"1"], b"s": [b"a", b"b", b"="], b"": [b"y"]}


def test_a_key_that_is_kept_seals_every_message_anew() -> None:
    messages = [b"one", b"two", b"one"]

    for message in messages:
        text = hmac.digest(b"key", message, "sha384").hex().encode()
        signatures.prove_hmac([text], signatures.HEX, [b"other", b"key"], message, "sha384")

    with pytest.raises(InvalidSignature):
        signatures.prove_hmac([text], signatures.HEX, [b"key"], b"two", "sha384")


@pytest.mark.parametrize("fields", [["a:", "b", "c"], ["a", "b", ":"]])
def test_only_the_free_field_of_a_list_may_hold_the_separator(fields: list[str]) -> None:
    assert signatures.field_list(["a", "b:c", "d"], ":", 1) == "a:b:c:d"
    with pytest.raises(InvalidSignature):
        signatures.field_list(fields, ":", 1)
