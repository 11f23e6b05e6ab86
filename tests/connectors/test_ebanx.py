"""What is particular about EBANX."""

import asyncio

import pytest

from connectors._base import (
    GatewayUnavailable,
    InvalidSignature,
    NotFound,
    PayoutUpdate,
    UnreadableEvent,
    WebhookRequest,
)
from models.lifecycle import PayoutStatus, join
from sandbox.signers import ebanx
from tests.connectors.fakes import ScriptedHttp, a_reply
from tests.connectors.keys import as_arrived, pem
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.ebanx import CERTIFICATE, CODE, KEY, OTHER_CERTIFICATE, SAMPLE, certificate_pem

EBANX = connector_of("ebanx")
FORM = f"operation=payout_status_change&notification_type=update&hash_codes={CODE}%2Cabc".encode()


def a_form(body: bytes = FORM, *changes: tuple[bytes, bytes]) -> WebhookRequest:
    """Return a signed form, with headers changed."""
    headers = dict(as_arrived(ebanx.sign(body, KEY, ebanx.fingerprint(CERTIFICATE)))) | dict(changes)
    return WebhookRequest(list(headers.items()), body)


def an_answer(word: str) -> dict[str, object]:
    payout = {"uid": CODE, "external_reference": "pay_01JX", "status": word, "amount": "250.00", "currency_code": "BRL"}
    return {"status": "SUCCESS", "payout": payout}


def test_a_form_is_verified_and_names_its_payouts() -> None:
    EBANX.verify(a_form(), [certificate_pem(OTHER_CERTIFICATE), SAMPLE.secret], NOW)

    assert [(update.reference, update.status) for update in EBANX.parse(FORM)] == [(CODE, None), ("abc", None)]
    assert EBANX.event_key(a_form()) == f"payout_status_change:{CODE},abc"


def test_both_spellings_of_the_headers_are_read_and_not_both_at_once() -> None:
    headers = a_form().headers
    spelled = [(name.replace(b"x-signature", b"x-signature-"), value) for name, value in headers]

    EBANX.verify(WebhookRequest(spelled, FORM), [SAMPLE.secret], NOW)
    with pytest.raises(InvalidSignature, match="malformed_header"):
        EBANX.verify(WebhookRequest([*headers, *spelled], FORM), [SAMPLE.secret], NOW)


@pytest.mark.parametrize("kind", [b"rsa,sha256", b"RSA,SHA1", b"", b"hmac,sha1", b"none"])
def test_one_algorithm_is_allowed(kind: bytes) -> None:
    with pytest.raises(InvalidSignature, match="forbidden_algorithm"):
        EBANX.verify(a_form(FORM, (b"x-signaturetype", kind)), [SAMPLE.secret], NOW)


def test_a_fingerprint_chooses_inside_the_pins_only() -> None:
    other = dict(as_arrived(ebanx.sign(FORM, KEY, ebanx.fingerprint(OTHER_CERTIFICATE))))[b"x-signaturefingerprint"]

    with pytest.raises(InvalidSignature, match="unknown_key"):
        EBANX.verify(a_form(FORM, (b"x-signaturefingerprint", other)), [SAMPLE.secret], NOW)
    request = a_form(FORM, (b"x-signaturefingerprint", other))
    with pytest.raises(InvalidSignature, match="signature_mismatch"):
        EBANX.verify(request, [SAMPLE.secret, certificate_pem(OTHER_CERTIFICATE)], NOW)


def test_a_bare_key_has_no_fingerprint_and_is_no_pin() -> None:
    with pytest.raises(InvalidSignature, match="no_secret_configured"):
        EBANX.verify(a_form(), [pem(KEY)], NOW)


@pytest.mark.parametrize(
    "body",
    [
        *(b"operation=payout_status_change", b"operation=payout_status_change&hash_codes=", b"hash_codes=abc", b"x"),
        *(b"operation=payout_status_change&hash_codes=a,,b", b"operation=payout_status_change&hash_codes=a/b"),
        b"operation=payout_status_change&hash_codes=" + b",".join([b"abc"] * 1001),
        b"operation=payout_status_change&hash_codes=a&hash_codes=b",
        b"operation=payout_status_change&hash_codes=%FF",
        b"&".join([b"a=1"] * 200),
        b"\xff",
    ],
)
def test_a_form_that_names_no_payouts_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableEvent):
        EBANX.parse(body)


@pytest.mark.parametrize("word", sorted(EBANX.STATUSES))
def test_every_word_of_an_answer_maps(word: str) -> None:
    found = asyncio.run(EBANX.fetch(CODE, "", ScriptedHttp(a_reply(200, an_answer(word)))))

    assert found == PayoutUpdate(
        reference=CODE,
        order_key="pay_01JX",
        status=EBANX.STATUSES[word],
        said=word,
        amount_minor=25000,
        currency="BRL",
    )


def test_a_payout_that_was_paid_and_then_canceled_is_returned() -> None:
    assert join(EBANX.STATUSES["PA"], EBANX.STATUSES["CA"]) is PayoutStatus.RETURNED


@pytest.mark.parametrize(
    ("reference", "asked"), [(CODE, f"uid={CODE}"), ("a&b=c", "uid=a%26b%3Dc"), (None, "external_reference=pay+1")]
)
def test_a_payout_is_asked_about_by_its_uid_or_by_our_key(reference: str | None, asked: str) -> None:
    http = ScriptedHttp(a_reply(200, an_answer("PA")))

    asyncio.run(EBANX.fetch(reference, "pay 1", http))

    (sent,) = http.sent
    assert (sent.method, sent.url) == ("POST", "https://api.ebanx.com/ws/payout/retrieve")
    assert sent.body == f"integration_key=invented&{asked}".encode()


@pytest.mark.parametrize("answer", [an_answer("XX"), {"status": "ERROR", "status_code": "BP-PO-1"}, {"payout": {}}])
def test_an_answer_without_a_word_that_we_know_teaches_nothing(answer: object) -> None:
    with pytest.raises(GatewayUnavailable):
        asyncio.run(EBANX.fetch(CODE, "", ScriptedHttp(a_reply(200, answer))))


def test_a_payout_that_is_not_there_is_not_found() -> None:
    assert asyncio.run(EBANX.fetch(CODE, "", ScriptedHttp(a_reply(404)))) == NotFound()
