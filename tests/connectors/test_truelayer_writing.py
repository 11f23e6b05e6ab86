"""How a TrueLayer signature and its keys are written: one way each, and rubbish is a reason."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from connectors._base import Reason, WebhookRequest
from connectors._jws import elliptic_keys
from tests.connectors.keys import an_elliptic_key, pem
from tests.connectors.samples.truelayer import KEY, KEY_ID, a_jwk, a_key_set
from tests.connectors.test_truelayer import HONEST, a_request, encoded, reason_of, with_signature

# --- how it is written


@pytest.mark.parametrize(("signed", "arrived"), [("/hooks", "/hooks/"), ("/hooks/", "/hooks"), ("/", "/")])
def test_a_trailing_slash_makes_no_difference(signed: str, arrived: str) -> None:
    request = a_request(path=signed)

    assert reason_of(WebhookRequest(request.headers, request.body, "POST", arrived)) is None


@pytest.mark.parametrize("path", ["/hook", "/hooks//", "/hooks/x", "/Hooks", "/hooks?a=1", "", "\u20ac"])
def test_another_path_does_not_verify(path: str) -> None:
    request = a_request()

    assert reason_of(WebhookRequest(request.headers, request.body, "POST", path)) is Reason.SIGNATURE_MISMATCH


def test_coordinates_without_their_leading_zeros_are_read() -> None:
    short = next(
        key
        for key in (ec.generate_private_key(ec.SECP521R1()) for _ in range(10_000))
        if key.public_key().public_numbers().x.bit_length() <= 65 * 8
    )
    jwk = a_jwk(short)

    assert len(base64.urlsafe_b64decode(jwk["x"] + "==")) < 66
    assert reason_of(a_request(key=short), a_key_set(jwk)) is None


def test_a_payload_inside_the_signature_is_refused() -> None:
    head, _, seal = dict(a_request().headers)[b"tl-signature"].decode().split(".")

    assert reason_of(with_signature(f"{head}.{encoded('x')}.{seal}")) is Reason.MALFORMED_HEADER


@pytest.mark.parametrize(
    "value",
    [
        *("", ".", "..", "...", "a..b", "..AAAA", f"{encoded(HONEST)}..", f"{encoded(HONEST)}.AAAA", "\xff..\xff"),
        *(f"{encoded(text)}..AAAA" for text in ([], "x", 7, None, {}, {"alg": {}}, {"alg": "ES512", "crit": ["b64"]})),
        *(f"{encoded(HONEST | change)}..AAAA" for change in ({"b64": False}, {"b64": False, "crit": ["b64"]})),
        f"{base64.urlsafe_b64encode(b'{' * 500).decode()}..AAAA",
        f"{encoded(HONEST)}..{'A' * 176}",
        f"{encoded(HONEST)}..{'A' * 5_000}",
    ],
)
def test_a_signature_that_is_none_is_refused(value: str) -> None:
    assert reason_of(with_signature(value)) is not None


def test_a_signature_has_one_way_of_writing() -> None:
    value = dict(a_request().headers)[b"tl-signature"]

    for other in (value + b"=", value + b"\n", value.replace(b"..", b". ."), value[:-1], value + b"A", value + b"!"):
        assert reason_of(with_signature(other)) is not None


claims = st.fixed_dictionaries(
    {},
    optional={
        name: st.none()
        | st.integers()
        | st.text(max_size=9)
        | st.lists(st.text(max_size=3), max_size=2)
        | st.just(value)
        for name, value in {**HONEST, "crit": ["b64"], "b64": False, "typ": "JWT"}.items()
    },
)


@given(claimed=claims, seal=st.binary(min_size=130, max_size=134))
def test_any_claims_with_any_seal_are_refused(claimed: dict[str, Any], seal: bytes) -> None:
    text = base64.urlsafe_b64encode(seal).decode().rstrip("=")

    assert reason_of(with_signature(f"{encoded(claimed)}..{text}")) is not None


# --- what is pinned


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "{",
            "{}",
            '{"keys":7}',
            '{"keys":[]}',
            '{"keys":[7,null,[]]}',
            '{"keys":[{"kty":"EC"}]}',
            "\ud800",
            "[1]",
        ),
        json.dumps({"keys": [{"kty": "oct", "kid": KEY_ID, "k": "AAAA"}]}),
        json.dumps({"keys": [a_jwk(KEY) | {"x": "AAAA"}]}),
        json.dumps({"keys": [a_jwk(KEY) | {"kid": 7}]}),
    ],
)
def test_text_without_an_elliptic_key_pins_nothing(text: str) -> None:
    assert elliptic_keys(text) is None


def test_a_pem_key_answers_to_every_id() -> None:
    assert reason_of(a_request(HONEST | {"kid": "whatever"}), pem(KEY)) is None


def test_a_key_of_another_curve_does_not_verify() -> None:
    assert reason_of(a_request(), pem(an_elliptic_key())) is Reason.SIGNATURE_MISMATCH
