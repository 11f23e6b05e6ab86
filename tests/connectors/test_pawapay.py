"""What is particular about pawaPay."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from connectors._base import InvalidSignature, NotFound, PayoutUpdate, Verified, WebhookRequest
from models.lifecycle import PayoutStatus
from sandbox.signers import pawapay
from tests.connectors.fakes import ScriptedHttp, a_reply
from tests.connectors.keys import PrivateKey, an_elliptic_key, an_rsa_key, as_arrived, spki
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.pawapay import AUTHORITY, KEY, PAYOUT, SAMPLE, a_callback, a_payout

PAWAPAY = connector_of("pawapay")
P384 = an_elliptic_key(ec.SECP384R1)
RSA = an_rsa_key()

ALGORITHMS: dict[str, tuple[PrivateKey, Callable[[bool], pawapay.Sign]]] = {
    "ecdsa-p256-sha256": (KEY, lambda der: pawapay.ecdsa(KEY, is_der=der)),
    "ecdsa-p384-sha384": (P384, lambda der: pawapay.ecdsa(P384, is_der=der)),
    "rsa-v1_5-sha256": (RSA, lambda _: pawapay.rsa_v1_5(RSA)),
    "rsa-pss-sha512": (RSA, lambda _: pawapay.rsa_pss(RSA)),
}


def a_request(sign: pawapay.Sign) -> WebhookRequest:
    own = pawapay.own_headers(SAMPLE.body, NOW)
    parameters = f'created={int(NOW.timestamp())};keyid="k"'
    headers = pawapay.signed(own, sign, authority=AUTHORITY, path="/", parameters=parameters)
    return WebhookRequest(as_arrived(headers), SAMPLE.body)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("encoding", ["der", "raw"])
def test_every_algorithm_of_pawapay_verifies_in_its_encoding_and_as_no_other(algorithm: str, encoding: str) -> None:
    key, signing = ALGORITHMS[algorithm]
    request, secrets = a_request(signing(encoding == "der")), [spki(key)]

    for other in ALGORITHMS:
        connector = connector_of("pawapay", algorithm=other, ecdsa_encoding=encoding)
        if other == algorithm:
            assert connector.verify(request, secrets, NOW) == Verified(NOW)
        else:
            with pytest.raises(InvalidSignature, match="signature_mismatch"):
                connector.verify(request, secrets, NOW)


def test_an_encoding_that_is_not_configured_is_refused() -> None:
    for is_der, encoding in ((True, "raw"), (False, "der")):
        connector = connector_of("pawapay", ecdsa_encoding=encoding)
        with pytest.raises(InvalidSignature, match="signature_mismatch"):
            connector.verify(a_request(pawapay.ecdsa(KEY, is_der=is_der)), [spki(KEY)], NOW)


def test_without_our_own_host_nothing_verifies() -> None:
    with pytest.raises(InvalidSignature, match="no_secret_configured"):
        connector_of("pawapay", authority="").verify(SAMPLE.request(), [SAMPLE.secret], NOW)


def test_a_failure_has_its_reason() -> None:
    reason = {"failureCode": "RECIPIENT_NOT_FOUND", "failureMessage": "No such wallet."}

    (update,) = PAWAPAY.parse(a_callback(status="FAILED", failureReason=reason))

    assert (update.status, update.failure_code) == (PayoutStatus.FAILED, "RECIPIENT_NOT_FOUND")
    assert update.failure_message == "No such wallet."


@pytest.mark.parametrize(("reference", "asked"), [("abc", "abc"), (None, "pay_01JX")])
def test_a_payout_is_asked_about_by_its_id_which_may_be_our_key(reference: str | None, asked: str) -> None:
    http = ScriptedHttp(a_reply(200, {"status": "FOUND", "data": a_payout(status="PROCESSING")}))

    found = asyncio.run(PAWAPAY.fetch(reference, "pay_01JX", http))

    assert isinstance(found, PayoutUpdate)
    assert (found.reference, found.status) == (PAYOUT, PayoutStatus.INITIATED)
    assert http.sent[0].url == f"https://api.pawapay.io/v2/payouts/{asked}"
    assert http.sent[0].headers["Authorization"] == "Bearer invented"


def test_not_found_is_also_a_word_of_a_good_answer() -> None:
    http = ScriptedHttp(a_reply(200, {"status": "NOT_FOUND"}))

    assert asyncio.run(PAWAPAY.fetch("abc", "", http)) == NotFound()


@pytest.mark.parametrize("kind", ["refundId", "depositId"])
def test_a_callback_about_something_else_is_none_of_ours(kind: str) -> None:
    other: dict[str, Any] = {kind: "1", "status": "COMPLETED"}

    assert PAWAPAY.parse(a_reply(200, other).body) == []
