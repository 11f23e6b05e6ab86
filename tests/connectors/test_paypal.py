"""What is particular about PayPal."""

import asyncio
import zlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._base import InvalidSignature, PayoutUpdate, Reason, Verified, WebhookRequest
from models.lifecycle import PayoutStatus, join
from tests.connectors.fakes import ScriptedHttp, a_reply
from tests.connectors.keys import certificate_pem
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.paypal import AUTHORITY, LEAF, OTHER_LEAF, ROOT, SAMPLE, TOKEN, URL, an_event, an_item

PAYPAL = connector_of("paypal")
CHAIN = certificate_pem(LEAF, AUTHORITY, ROOT)


def with_header(name: bytes, *values: bytes, body: bytes = SAMPLE.body) -> WebhookRequest:
    rest = [(key, value) for key, value in SAMPLE.request().headers if key != name]
    return WebhookRequest([*rest, *((name, value) for value in values)], body)


def reason_of(request: WebhookRequest, secret: str = CHAIN, **options: object) -> Reason | None:
    try:
        assert connector_of("paypal", **options).verify(request, [secret], NOW) == Verified(NOW)
    except InvalidSignature as refused:
        return refused.reason
    return None


# --- the certificate


@pytest.mark.parametrize("secret", [CHAIN, f"{URL}\n{CHAIN}", f"{URL}\r\n{CHAIN}", certificate_pem(LEAF)])
def test_a_chain_or_a_leaf_is_pinned_under_its_address_or_under_none(secret: str) -> None:
    assert reason_of(SAMPLE.request(), secret) is None


@pytest.mark.parametrize(
    "secret", ["", URL, f"{URL}\n", f"https://evil.test/x\n{CHAIN}", f"http://api.paypal.com/x\n{CHAIN}", "webhook-id"]
)
def test_what_is_no_pin_is_no_secret(secret: str) -> None:
    assert reason_of(SAMPLE.request(), secret) is Reason.NO_SECRET_CONFIGURED


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "https://", "https://paypal.com/x", "https://evilpaypal.com/x", "http://api.paypal.com/x"),
        *(
            "https://api.paypal.com.evil.test/x",
            "https://api.paypal.com@evil.test/x",
            "https://evil.test/.paypal.com/x",
        ),
        *("https://evil.test#.paypal.com/x", "https://evil.test?.paypal.com/x", "https://evil.test\\.paypal.com/x"),
        *("https://api.paypal.com:444/x", "https://api.paypal.com:443/x", "https://u:p@api.paypal.com/x"),
        *("HTTPS://api.paypal.com/x", "https://API.paypal.com/x", "https://api.paypal.com./x", "https://.paypal.com/x"),
        *("https://api.paypal.com", "https://api.paypal.com/x?y", "https://api.paypal.com/x#y", "//api.paypal.com/x"),
        *(" https://api.paypal.com/x", "https://api.paypal.com/x\n", "https://api.p\u0430ypal.com/x", "file:///x"),
        *(
            "https://api.paypal.com/%2e%2e/x",
            "https://api.paypal.com/" + "x" * 300,
            "https://evil.test/https://api.paypal.com/x",
        ),
    ],
)
def test_an_address_that_is_not_paypals_is_not_trusted(url: str) -> None:
    assert reason_of(with_header(b"paypal-cert-url", url.encode())) is Reason.UNTRUSTED_KEY_SOURCE


@given(st.binary(max_size=60))
def test_any_address_only_chooses_and_never_vouches(url: bytes) -> None:
    assert reason_of(with_header(b"paypal-cert-url", url)) is Reason.UNTRUSTED_KEY_SOURCE


def test_paypals_address_chooses_inside_the_pins_only() -> None:
    request = with_header(b"paypal-cert-url", URL.encode() + b"-2")

    assert reason_of(request, f"{URL}\n{CHAIN}") is Reason.UNKNOWN_KEY
    assert reason_of(request, CHAIN) is None
    assert reason_of(SAMPLE.request(), certificate_pem(OTHER_LEAF, AUTHORITY, ROOT)) is Reason.SIGNATURE_MISMATCH


def test_a_certificate_of_the_other_environment_or_out_of_date_is_not_trusted() -> None:
    sandbox = "messageverificationcerts.sandbox.paypal.com"

    assert reason_of(SAMPLE.request(), certificate_name=sandbox) is Reason.UNTRUSTED_KEY_SOURCE
    with pytest.raises(InvalidSignature, match="untrusted_key_source"):
        PAYPAL.verify(SAMPLE.request(), [CHAIN], NOW + timedelta(days=365))


# --- what is signed


def test_without_our_webhook_id_nothing_verifies() -> None:
    assert reason_of(SAMPLE.request(), webhook_id="") is Reason.NO_SECRET_CONFIGURED
    assert reason_of(SAMPLE.request(), webhook_id="another") is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (b"paypal-auth-algo", b"SHA1withRSA", Reason.FORBIDDEN_ALGORITHM),
        (b"paypal-auth-algo", b"sha256withrsa", Reason.FORBIDDEN_ALGORITHM),
        (b"paypal-transmission-id", b"a|b", Reason.MALFORMED_HEADER),
        (b"paypal-transmission-id", b"", Reason.MALFORMED_HEADER),
        (b"paypal-transmission-time", b"now", Reason.MALFORMED_HEADER),
        (b"paypal-transmission-time", b"2026-05-12", Reason.MALFORMED_HEADER),
        (b"paypal-transmission-time", b"2026-02-30T00:00:00Z", Reason.MALFORMED_HEADER),
        (b"paypal-transmission-time", b"2026-05-12T09:15:00+00:00", Reason.MALFORMED_HEADER),
        (b"paypal-transmission-sig", b"AA==", Reason.SIGNATURE_MISMATCH),
        (b"paypal-transmission-sig", b"%", Reason.BAD_ENCODING),
    ],
)
def test_a_part_that_is_not_as_it_should_be_is_refused(name: bytes, value: bytes, reason: Reason) -> None:
    assert reason_of(with_header(name, value)) is reason
    assert reason_of(with_header(name, value, value)) is Reason.MALFORMED_HEADER


def test_age_may_be_days_and_the_future_minutes() -> None:
    paypal = connector_of("paypal", tolerance_seconds=259_200)

    assert paypal.verify(SAMPLE.request(), [CHAIN], NOW + timedelta(days=3)) == Verified(NOW)
    for wrong, reason in ((timedelta(days=3, seconds=1), "too_old"), (timedelta(seconds=-301), "in_future")):
        with pytest.raises(InvalidSignature, match=reason):
            paypal.verify(SAMPLE.request(), [CHAIN], NOW + wrong)


# --- why a body is a hint


def forged(wanted: int, text: bytes) -> bytes:
    """Return `text` with four bytes in its last field that give it the CRC-32 that somebody wants."""
    table = [_entry(index) for index in range(256)]
    back = {entry >> 24: index for index, entry in enumerate(table)}
    register = wanted ^ 0xFFFFFFFF
    for _ in range(4):
        index = back[register >> 24]
        register = ((register ^ table[index]) << 8 | index) & 0xFFFFFFFF
    return text + (register ^ zlib.crc32(text) ^ 0xFFFFFFFF).to_bytes(4, "little")


def _entry(index: int) -> int:
    for _ in range(8):
        index = index >> 1 ^ (0xEDB88320 if index & 1 else 0)
    return index


def test_a_forged_body_with_the_same_sum_verifies_and_can_only_make_us_ask() -> None:
    lie = an_event(resource=an_item(payout_item_id="ANOTHER", transaction_status="RETURNED"))
    body = forged(zlib.crc32(SAMPLE.body), lie + b" ")
    assert body != SAMPLE.body
    assert PAYPAL.verify(WebhookRequest(SAMPLE.request().headers, body), [CHAIN], NOW) == Verified(NOW)

    (update,) = PAYPAL.parse(lie)

    assert update == PayoutUpdate(reference="ANOTHER", status=None, said="RETURNED")


# --- what its answer says


def test_a_payout_item_is_asked_about_behind_a_login() -> None:
    errors = {"name": "RECEIVER_UNREGISTERED", "message": "Receiver is unregistered."}
    answer = an_item(transaction_status="UNCLAIMED", errors=errors)
    http = ScriptedHttp(a_reply(200, TOKEN), a_reply(200, answer))

    found = asyncio.run(PAYPAL.fetch("8AELMXH8UB2P8", "", http))

    assert isinstance(found, PayoutUpdate)
    assert (found.reference, found.order_key, found.status) == ("8AELMXH8UB2P8", "pay_01JX", PayoutStatus.BROADCAST)
    assert (found.amount_minor, found.currency, found.failure_code) == (25000, "USD", "RECEIVER_UNREGISTERED")
    assert [sent.url for sent in http.sent] == [
        "https://api-m.paypal.com/v1/oauth2/token",
        "https://api-m.paypal.com/v1/payments/payouts-item/8AELMXH8UB2P8",
    ]
    assert http.sent[0].headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("word", sorted(PAYPAL.STATUSES))
def test_every_word_of_an_answer_maps(word: str) -> None:
    http = ScriptedHttp(a_reply(200, TOKEN), a_reply(200, an_item(transaction_status=word)))

    found = asyncio.run(PAYPAL.fetch("1", "", http))

    assert isinstance(found, PayoutUpdate)
    assert (found.said, found.status) == (word, PAYPAL.STATUSES[word])


def test_an_unclaimed_payout_that_is_called_off_has_failed() -> None:
    assert join(PAYPAL.STATUSES["UNCLAIMED"], PAYPAL.STATUSES["CANCELED"]) is PayoutStatus.FAILED
