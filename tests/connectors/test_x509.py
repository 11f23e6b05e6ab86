"""Pinned certificates: a chain is as good as its root, its dates and its name."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from connectors._base import InvalidSignature
from connectors._x509 import chain, vouched_key
from tests.connectors.keys import BEGINS, ENDS, a_leaf, an_authority, an_elliptic_key, an_rsa_key, certificate_pem
from tests.connectors.sample import NOW
from tests.connectors.samples.paypal import AUTHORITY, AUTHORITY_KEY, HOST, KEY, LEAF, OTHER, OTHER_LEAF, ROOT

MALLORY = an_authority(OTHER)
"""A root of the same name as ours, with another key."""
SELF_SIGNED = a_leaf(KEY, HOST, (KEY, HOST))
BY_A_LEAF = a_leaf(an_rsa_key(4), HOST, (OTHER, HOST))


def is_vouched(*certificates: object, name: str = HOST, now: object = NOW) -> bool:
    found = chain(certificate_pem(*certificates))  # type: ignore[arg-type]
    assert found is not None
    try:
        key = vouched_key(found, name, now)  # type: ignore[arg-type]
    except InvalidSignature as refused:
        assert refused.reason == "untrusted_key_source"  # noqa: PT017 - either outcome is asked about
        return False
    return key == found.leaf.public_key()


@pytest.mark.parametrize(
    "certificates", [(LEAF, AUTHORITY, ROOT), (LEAF, AUTHORITY), (LEAF, ROOT, AUTHORITY), (LEAF,), (SELF_SIGNED,)]
)
def test_a_chain_up_to_what_is_pinned_or_the_leaf_itself_vouches(certificates: tuple[object, ...]) -> None:
    assert is_vouched(*certificates)


@pytest.mark.parametrize(
    "certificates",
    [
        (LEAF, ROOT),
        (LEAF, AUTHORITY, MALLORY),
        (LEAF, MALLORY),
        (LEAF, OTHER_LEAF),
        (AUTHORITY, LEAF, ROOT),
        (BY_A_LEAF, OTHER_LEAF, AUTHORITY, ROOT),
        (SELF_SIGNED, AUTHORITY, ROOT),
    ],
    ids=repr,
)
def test_a_chain_that_does_not_lead_to_its_anchor_vouches_for_nothing(certificates: tuple[object, ...]) -> None:
    assert not is_vouched(*certificates)


@pytest.mark.parametrize("certificates", [(LEAF, AUTHORITY, ROOT), (LEAF,)])
def test_certificates_are_good_between_their_dates_and_not_a_second_longer(certificates: tuple[object, ...]) -> None:
    assert is_vouched(*certificates, now=BEGINS)
    assert is_vouched(*certificates, now=ENDS)
    assert not is_vouched(*certificates, now=BEGINS - timedelta(seconds=1))
    assert not is_vouched(*certificates, now=ENDS + timedelta(seconds=1))


def test_the_shortest_dates_of_a_chain_count() -> None:
    short = a_leaf(KEY, HOST, (AUTHORITY_KEY, "Authority"), ends=NOW - timedelta(days=1))

    assert not is_vouched(short, AUTHORITY, ROOT)
    assert is_vouched(short, AUTHORITY, ROOT, now=NOW - timedelta(days=2))


@pytest.mark.parametrize("name", ["paypal.com", f"x.{HOST}", HOST.upper(), f"{HOST}.evil.test", "", "a b", "é"])
def test_another_name_is_not_vouched_for(name: str) -> None:
    assert not is_vouched(LEAF, AUTHORITY, ROOT, name=name)
    assert not is_vouched(LEAF, name=name)


def test_a_common_name_that_contradicts_the_alternative_names_is_refused() -> None:
    odd = a_leaf(KEY, HOST, (AUTHORITY_KEY, "Authority"), common_name="www.evil.test")

    assert not is_vouched(odd, AUTHORITY, ROOT)
    assert not is_vouched(odd)


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN CERTIFICATE-----\nQUFB\n-----END CERTIFICATE-----\n", "\ud800"])
def test_text_without_a_certificate_is_no_chain(text: str) -> None:
    assert chain(text) is None


@given(st.text())
def test_any_text_is_no_chain(text: str) -> None:
    assert chain(text) is None


def test_an_elliptic_leaf_is_as_good() -> None:
    leaf = a_leaf(an_elliptic_key(ec.SECP256R1, 5), HOST, (AUTHORITY_KEY, "Authority"))

    assert is_vouched(leaf, AUTHORITY, ROOT)
