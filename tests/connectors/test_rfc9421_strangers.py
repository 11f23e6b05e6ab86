"""RFC 9421 with strangers: whatever stands in the fields, the answer is a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._base import Reason, WebhookRequest
from connectors._rfc9421 import Policy
from tests.connectors.test_rfc9421 import AUTHORITY, BODY, a_request, reason_of, with_header


@pytest.mark.parametrize("name", [b"signature", b"signature-input", b"content-digest", b"content-type"])
def test_a_missing_header_is_missing(name: bytes) -> None:
    assert reason_of(with_header(a_request(), name)) is Reason.MISSING_HEADER


def test_one_signature_is_all_that_is_read() -> None:
    request = a_request()
    signature, described = (dict(request.headers)[name] for name in (b"signature", b"signature-input"))

    for name, text in ((b"signature", signature), (b"signature-input", described)):
        twice = text + b", " + text.replace(b"sig-pp", b"sig-qq")
        assert reason_of(with_header(request, name, twice)) is Reason.MALFORMED_HEADER
        assert reason_of(with_header(request, name, text, text)) is Reason.MALFORMED_HEADER
        assert reason_of(with_header(request, name, text.replace(b"sig-pp", b"other"))) is Reason.MALFORMED_HEADER


def test_a_signature_has_one_way_of_writing() -> None:
    request = a_request()
    text = dict(request.headers)[b"signature"]
    last = text[-4:-3]
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    stray = text[:-4] + alphabet[alphabet.index(last) | 1 : (alphabet.index(last) | 1) + 1] + text[-3:]

    for other in (stray, text.replace(b"==:", b":"), text + b";a=1", b" " + text):
        assert reason_of(with_header(request, b"signature", other)) in {Reason.BAD_ENCODING, Reason.MALFORMED_HEADER}


NASTY = [
    *(b"sig-pp=()", b"sig-pp=();created=1", b"sig-pp=(", b"sig-pp", b"sig-pp=1", b"sig-pp=?1", b"=()", b"()"),
    *(b'sig-pp=("");created=1;keyid="a"', b'sig-pp=("@method" "@method");created=1;keyid="a"'),
    *(b'sig-pp=("@status");created=1;keyid="a"', b'sig-pp=("@request-response");created=1;keyid="a"'),
    *(b'sig-pp=("@query-param";name="a");created=1;keyid="a"', b'sig-pp=("@signature-params");created=1;keyid="a"'),
    *(b'sig-pp=("CONTENT-TYPE");created=1;keyid="a"', b'sig-pp=("content-type";bs;sf;tr;req);created=1;keyid="a"'),
    *(b"sig-pp=(:AAAA: 1 ?0 tok 1.5);created=1", b"\xff\xfe", b"sig-pp=(\xc3\xa9)", b"\0", b"((((", b"sig-pp=%" * 999),
    b'sig-pp=("content-digest";key="sha-512");created=1;keyid="a"',
    b'sig-pp=("@method";req);created=1;keyid="a"',
    b"sig-pp=(" + b'"a" ' * 5_000 + b")",
    b'sig-pp=("@method"' + b";a" * 5_000 + b');created=1;keyid="a"',
]


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("name", [b"signature-input", b"signature", b"content-digest"])
def test_a_nasty_structured_field_is_refused(name: bytes, text: bytes) -> None:
    lenient = Policy("ecdsa-p256-sha256", frozenset(), AUTHORITY, None, demands_digest=False)

    assert reason_of(with_header(a_request(), name, text)) is not None
    assert name == b"content-digest" or reason_of(with_header(a_request(), name, text), lenient) is not None


PIECES = [
    *(b"sig-pp", b"=", b"(", b")", b'"', b"@method", b"@path", b"content-digest", b";", b"created", b"keyid", b"alg"),
    *(b":", b"AAAA", b"AA==", b"?1", b" ", b",", b"1", b"-", b".", b"*", b"%", b"\\", b"\xff", b"\0", b"\t", b"@"),
    *(b";bs", b";sf", b";req", b";key=", b";name=", b'("@authority");created=1;keyid="a"', b"@query-param"),
]


@given(
    name=st.sampled_from([b"signature-input", b"signature", b"content-digest", b"content-type"]),
    pieces=st.lists(st.sampled_from(PIECES), max_size=20),
)
def test_any_arrangement_of_structured_pieces_is_refused(name: bytes, pieces: list[bytes]) -> None:
    request = with_header(a_request(), name, b"".join(pieces))

    assert reason_of(request) is not None


def test_a_header_cannot_stand_in_for_what_is_derived() -> None:
    request = a_request(path="/elsewhere")
    headers = [*request.headers, (b"@path", b"/elsewhere"), (b"@method", b"POST")]

    assert reason_of(WebhookRequest(headers, BODY, "POST", "/hooks")) is Reason.SIGNATURE_MISMATCH


@given(path=st.text(max_size=30), method=st.text(max_size=8))
def test_any_path_and_method_are_refused(path: str, method: str) -> None:
    request = a_request(path="/only/here")

    assert reason_of(WebhookRequest(request.headers, request.body, method, path)) is not None
