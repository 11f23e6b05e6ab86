"""The building blocks of asymmetric signatures: what a pin is, and that a seal says yes or no and nothing else."""

from functools import partial

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, utils
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import NoEncryption as Plain
from hypothesis import given
from hypothesis import strategies as st

from connectors import _asymmetric as asymmetric
from connectors._base import InvalidSignature, Reason
from tests.connectors.keys import a_leaf, an_elliptic_key, an_rsa_key, certificate_pem, pem, spki

MESSAGE = b'{"status":"delivered"}'
RSA, P256, P384, P521 = an_rsa_key(), an_elliptic_key(), an_elliptic_key(ec.SECP384R1), an_elliptic_key(ec.SECP521R1)
ED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

SEALS = {
    "pkcs1": asymmetric.rsa_pkcs1(hashes.SHA256()),
    "pss": asymmetric.rsa_pss(hashes.SHA512()),
    "der": asymmetric.ecdsa_der(ec.SECP256R1(), hashes.SHA256()),
    "raw": asymmetric.ecdsa_raw(ec.SECP256R1(), hashes.SHA256()),
    "raw-521": asymmetric.ecdsa_raw(ec.SECP521R1(), hashes.SHA512()),
    "ed25519": asymmetric.ed25519,
}


def raw(der: bytes, size: int) -> bytes:
    r, s = utils.decode_dss_signature(der)
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


DER = P256.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))
SIGNED = {
    "pkcs1": (RSA, RSA.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256())),
    "pss": (RSA, RSA.sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA512()), 64), hashes.SHA512())),
    "der": (P256, DER),
    "raw": (P256, raw(DER, 32)),
    "raw-521": (P521, raw(P521.sign(MESSAGE, ec.ECDSA(hashes.SHA512())), 66)),
    "ed25519": (ED, ED.sign(MESSAGE)),
}
every_seal = pytest.mark.parametrize("name", SEALS)


@every_seal
def test_a_seal_holds_for_its_own_key_message_and_algorithm_only(name: str) -> None:
    key, signature = SIGNED[name]

    assert SEALS[name](key.public_key(), signature, MESSAGE)
    assert not SEALS[name](key.public_key(), signature, MESSAGE + b" ")
    assert not SEALS[name](key.public_key(), signature[:-1], MESSAGE)
    assert not SEALS[name](key.public_key(), signature + b"\0", MESSAGE)
    for other, seal in SEALS.items():
        assert seal(key.public_key(), signature, MESSAGE) == (other == name)


@every_seal
def test_a_key_of_another_kind_or_curve_says_no(name: str) -> None:
    key, signature = SIGNED[name]
    others = [found for found in (RSA, P256, P384, P521, ED) if found is not key]

    assert not any(SEALS[name](other.public_key(), signature, MESSAGE) for other in others)


@given(name=st.sampled_from(list(SEALS)), signature=st.binary(max_size=300), message=st.binary(max_size=50))
def test_any_bytes_are_no_signature(name: str, signature: bytes, message: bytes) -> None:
    assert not SEALS[name](SIGNED[name][0].public_key(), signature, message)


@pytest.mark.parametrize("pair", [(0, 0), (1, 0), (0, 1), (2**256 - 1, 2**256 - 1)])
def test_numbers_outside_the_group_are_no_signature(pair: tuple[int, int]) -> None:
    signature = pair[0].to_bytes(32, "big") + pair[1].to_bytes(32, "big")

    assert not SEALS["raw"](P256.public_key(), signature, MESSAGE)
    assert not SEALS["der"](P256.public_key(), utils.encode_dss_signature(*pair), MESSAGE)


@pytest.mark.parametrize(
    "text",
    [
        pem(P256),
        spki(P256),
        f"  {pem(P256)}\n",
        "\n".join(spki(P256)[at : at + 20] for at in range(0, 200, 20)),
        certificate_pem(a_leaf(P256, "a.example.test", (RSA, "Root"))),
    ],
)
@pytest.mark.parametrize("prefix", ["", "keyid=key:1 ", "keyid=key:1\n"])
def test_a_key_is_pinned_as_pem_certificate_or_base64_with_its_id_or_without(text: str, prefix: str) -> None:
    pin = asymmetric.pin(f"{prefix}{text}")

    assert pin is not None
    assert pin.keyid == ("key:1" if prefix else None)
    assert SEALS["der"](pin.key, DER, MESSAGE)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "keyid=", "keyid=a", f"keyid= {spki(P256)}", f"keyid={pem(P256)}", "QUFB", "é", "\ud800", "\0"),
        spki(P256)[:-4],
        pem(P256).replace("PUBLIC", "PRIVATE"),
        pem(P256)[:80],
        P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, Plain()).decode(),
        "-----BEGIN CERTIFICATE-----\nQUFB\n-----END CERTIFICATE-----",
    ],
)
def test_text_that_is_no_public_key_pins_nothing(text: str) -> None:
    assert asymmetric.pin(text) is None


@given(st.text())
def test_any_text_is_a_pin_or_none(text: str) -> None:
    assert asymmetric.pin(text) is None


def test_a_list_without_a_single_key_is_no_secret() -> None:
    with pytest.raises(InvalidSignature) as refused:
        asymmetric.pins(["", "an HMAC secret by mistake"], asymmetric.pin)

    assert refused.value.reason is Reason.NO_SECRET_CONFIGURED


def test_an_id_chooses_among_the_pins_and_a_pin_without_one_answers_to_all() -> None:
    pinned = asymmetric.pins([f"keyid=a {spki(P256)}", spki(P384), f"keyid=b {spki(P521)}"], asymmetric.pin)

    assert [key.key_size for key in asymmetric.chosen(pinned, "a")] == [256, 384]  # type: ignore[union-attr]
    with pytest.raises(InvalidSignature, match="unknown_key"):
        asymmetric.chosen(pinned[:1], "c")


def test_a_key_is_parsed_once() -> None:
    text = spki(an_elliptic_key(number=77))

    assert asymmetric.pin(text) is asymmetric.pin(text)


@pytest.mark.parametrize("text", [b"", b"yesterday", b"2026-13-01T00:00:00Z", b"\xff", "٢٠٢٦-01-01".encode(), b"1e9"])
def test_a_time_that_is_none_is_malformed(text: bytes) -> None:
    with pytest.raises(InvalidSignature, match="malformed_header"):
        asymmetric.iso_seconds(text)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_time_or_malformed(text: bytes) -> None:
    read = partial(asymmetric.iso_seconds, text)
    try:
        assert isinstance(read(), int)
    except InvalidSignature as refused:
        assert refused.reason is Reason.MALFORMED_HEADER  # noqa: PT017 - either outcome is right
