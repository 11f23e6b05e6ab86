"""What is particular about PayCore."""

import asyncio
import base64
import hashlib
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors._base import (
    Account,
    GatewayUnavailable,
    InvalidSignature,
    NotFound,
    OutcomeUnknown,
    Reason,
    Rejected,
    UnreadableEvent,
    WebhookRequest,
)
from connectors.paycore import PayCore
from models.lifecycle import PayoutStatus
from tests.connectors.fakes import ScriptedHttp, a_reply, everything
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.paycore import SAMPLE, a_callback, an_invoice

PAYCORE = connector_of("paycore")


@pytest.mark.parametrize(
    ("secret", "body", "signature"),
    [
        ("sk_test_1", b"{}", b"Q2hpbGRyZW4="),
        ("sk_test_1", b'{"data":{"links":{"self":"\\/api"}}}', None),
        ("пароль", b"\x00\xff not json", None),
    ],
)
def test_the_signature_is_the_formula(secret: str, body: bytes, signature: bytes | None) -> None:
    sandwich = secret.encode() + body + secret.encode()
    good = base64.b64encode(hashlib.new("sha1", sandwich).digest())  # noqa: S324 - the gateway's scheme

    PAYCORE.verify(WebhookRequest([(b"x-signature", good)], body), [secret], NOW)
    if signature is not None:
        with pytest.raises(InvalidSignature):
            PAYCORE.verify(WebhookRequest([(b"x-signature", signature)], body), [secret], NOW)


def test_the_signature_of_a_known_answer_verifies() -> None:
    """Computed with `printf 'sk_test_1{}sk_test_1' | openssl dgst -sha1 -binary | base64`."""
    request = WebhookRequest([(b"x-signature", b"0XeDUIaPYQ/wy2OQq7UBb9pilD4=")], b"{}")

    PAYCORE.verify(request, ["sk_test_1"], NOW)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.rstrip(b"="), Reason.BAD_ENCODING),
        (lambda text: text + b"\n", Reason.BAD_ENCODING),
        (lambda text: base64.b64decode(text).hex().encode(), Reason.SIGNATURE_MISMATCH),
        (base64.b64decode, Reason.BAD_ENCODING),
    ],
)
def test_no_other_writing_of_the_signature_verifies(change: object, reason: Reason) -> None:
    assert callable(change)
    ((name, text),) = SAMPLE.request().headers

    with pytest.raises(InvalidSignature) as refused:
        PAYCORE.verify(WebhookRequest([(name, change(text))], SAMPLE.body), [SAMPLE.secret], NOW)

    assert refused.value.reason is reason


def test_what_makes_a_callback_the_same_is_type_id_status_and_updated() -> None:
    keys = {
        PAYCORE.event_key(WebhookRequest([], a_callback(an_invoice(**changes))))
        for changes in ({}, {"fee": 1}, {"updated": 1}, {"status": "canceled"})
    }

    assert keys == {
        "payout-invoices:cpoi_Q2m8Yx0bTnR4kLz7:processed:1767606091",
        "payout-invoices:cpoi_Q2m8Yx0bTnR4kLz7:processed:1",
        "payout-invoices:cpoi_Q2m8Yx0bTnR4kLz7:canceled:1767606091",
    }


@pytest.mark.parametrize("word", ["PROCESSED", "processed", "Processed"])
def test_a_payout_request_is_read_in_any_case(word: str) -> None:
    request = {
        "type": "payout-request",
        "id": "porq_1",
        "attributes": {"status": word, "point_amount": 12.5, "point_currency": "EUR", "reference_id": "pay_1"},
    }

    (update,) = PAYCORE.parse(a_callback(request))

    assert (update.reference, update.order_key, update.status) == ("porq_1", "pay_1", PayoutStatus.DELIVERED)
    assert (update.amount_minor, update.currency, update.said) == (1250, "EUR", "processed")


def test_a_single_attempt_is_not_the_payout() -> None:
    assert PAYCORE.parse(a_callback({"type": "payouts", "id": "po_1", "attributes": {"status": "INVOKE_FAILED"}})) == []


def test_a_partial_success_is_delivered_with_less() -> None:
    (update,) = PAYCORE.parse(a_callback(an_invoice(status="partially_processed", processed_amount=725.25)))

    assert update.status is PayoutStatus.DELIVERED
    assert (update.amount_minor, update.processed_amount_minor) == (100050, 72525)


@pytest.mark.parametrize(
    ("processed", "status"),
    [(1767606090, PayoutStatus.RETURNED), (None, PayoutStatus.CANCELED), (0, PayoutStatus.CANCELED)],
)
def test_a_cancellation_after_the_money_arrived_is_a_return(processed: int | None, status: PayoutStatus) -> None:
    (update,) = PAYCORE.parse(a_callback(an_invoice(status="canceled", processed=processed)))

    assert update.status is status


@pytest.mark.parametrize("processed", [1767606090, None])
def test_of_a_partial_cancellation_what_stayed_paid_has_arrived(processed: int | None) -> None:
    invoice = an_invoice(status="partially_canceled", processed=processed, processed_amount=725.25)

    (update,) = PAYCORE.parse(a_callback(invoice))

    assert (update.status, update.processed_amount_minor) == (PayoutStatus.DELIVERED, 72525)


@pytest.mark.parametrize("stayed", [None, 0, 1000.5, 2000])
def test_a_partial_cancellation_that_does_not_tell_what_stayed_paid_is_for_a_person(stayed: float | None) -> None:
    with pytest.raises(UnreadableEvent, match=r"data\.attributes\.processed_amount is no part"):
        PAYCORE.parse(a_callback(an_invoice(status="partially_canceled", processed_amount=stayed)))


def test_an_account_may_read_a_late_cancellation_as_one() -> None:
    account = Account({}, None, {"canceled_after_processed_is_returned": False})

    (update,) = PayCore(account).parse(a_callback(an_invoice(status="canceled", processed=1767606090)))

    assert update.status is PayoutStatus.CANCELED


def test_the_resolution_is_the_failure_code() -> None:
    (update,) = PAYCORE.parse(a_callback(an_invoice(status="process_failed", resolution="RECIPIENT_NOT_FOUND")))

    assert (update.status, update.failure_code) == (PayoutStatus.FAILED, "RECIPIENT_NOT_FOUND")


@pytest.mark.parametrize("word", ["process_error", "processed", "partially_processed", "cancel_failed"])
def test_the_resolution_of_what_is_under_way_or_has_arrived_is_no_failure(word: str) -> None:
    (update,) = PAYCORE.parse(a_callback(an_invoice(status=word, resolution="CONNECTION_ERROR")))

    assert update.failure_code is None


@pytest.mark.parametrize("word", ["canceled", "process_failed", "expired"])
def test_the_resolution_of_what_fell_through_is(word: str) -> None:
    (update,) = PAYCORE.parse(a_callback(an_invoice(status=word, resolution="DECLINED_ERROR")))

    assert update.failure_code == "DECLINED_ERROR"


@pytest.mark.parametrize(
    "written",
    [
        b"1000.005",
        b"-1",
        b"-0.01",
        b"NaN",
        b"Infinity",
        b"1e999999999",
        b"1e9999999999999999999",
        b"1e-999999999",
        b"1e400",
        b"true",
        b"[]",
        b'"1,5"',
        b"9" * 40,
        b"9" * 5_000,
        b"1.0000000000000000000000000000000000001",
    ],
)
def test_an_amount_that_is_not_exactly_one_is_unreadable(written: bytes) -> None:
    body = SAMPLE.body.replace(b'"amount":1000.5', b'"amount":' + written)

    with pytest.raises(UnreadableEvent):
        PAYCORE.parse(body)


@pytest.mark.parametrize(
    ("written", "minor"), [(b"0.29", 29), (b"1.1e3", 110000), (b"90071992547409.93", 9007199254740993)]
)
def test_no_float_ever_touches_an_amount(written: bytes, minor: int) -> None:
    (update,) = PAYCORE.parse(SAMPLE.body.replace(b'"amount":1000.5', b'"amount":' + written))

    assert update.amount_minor == minor


def test_an_empty_array_where_an_object_is_expected_is_an_empty_object() -> None:
    with pytest.raises(UnreadableEvent, match=r"data\.attributes\.status is missing"):
        PAYCORE.parse(a_callback({"type": "payout-invoices", "id": "cpoi_1", "attributes": []}))


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(UnreadableEvent):
        PAYCORE.parse(SAMPLE.body.replace(b'"pay_01JX"', b'"\\ud800"'))


def test_a_submission_is_a_flat_invoice_with_an_exact_amount() -> None:
    http = ScriptedHttp(*SAMPLE.accepted)

    asyncio.run(PAYCORE.submit(SAMPLE.order, http))

    (sent,) = http.sent
    assert (sent.method, sent.url) == ("POST", "https://com.paycore.io/api/payout-invoices")
    assert sent.headers["Authorization"] == "Basic " + base64.b64encode(b"coma_invented:sk_live_invented_key").decode()
    assert b'"amount":1000.50,' in (sent.body or b"")
    assert sent.json == {
        "service": "payment_card_usd",
        "fields": {"card_number": "4111111111111111"},
        "reference_id": "pay_01JX",
        "amount": 1000.5,
        "currency": "USD",
        "description": "May run",
        "test_mode": False,
    }


def test_a_duplicate_has_a_twin_to_ask_about() -> None:
    http = ScriptedHttp(a_reply(429, {"message": "Duplicate request detected"}))

    with pytest.raises(OutcomeUnknown):
        asyncio.run(PAYCORE.submit(SAMPLE.order, http))


def test_a_refusal_says_the_first_error() -> None:
    errors = [{"code": "INVALID_DETAILS", "title": "Invalid", "detail": "card_number is required"}, {"code": "other"}]
    http = ScriptedHttp(a_reply(422, {"errors": errors}))

    submission = asyncio.run(PAYCORE.submit(SAMPLE.order, http))

    assert submission == Rejected(code="invalid_details", message="card_number is required")


def test_a_payout_is_found_by_our_key_even_if_the_filter_is_ignored() -> None:
    http = ScriptedHttp(
        a_reply(200, {"data": [an_invoice(reference_id="pay_2"), an_invoice(reference_id=7)]}),
        a_reply(200, {"data": [an_invoice()]}),
    )

    found = asyncio.run(PAYCORE.fetch(None, "pay_01JX", http))

    assert found == SAMPLE.says
    assert parse_qs(urlsplit(http.sent[1].url).query) == {
        "filter[reference_id]": ["pay_01JX"],
        "page[number]": ["2"],
        "page[size]": ["50"],
    }


def test_an_empty_list_lacks_the_payout() -> None:
    assert asyncio.run(PAYCORE.fetch(None, "pay_01JX", ScriptedHttp(a_reply(200, {"data": []})))) == NotFound()


def test_a_list_that_ignores_its_page_number_is_not_read_for_ever() -> None:
    http = ScriptedHttp(a_reply(200, {"data": [an_invoice(reference_id="pay_2")]}))

    with pytest.raises(GatewayUnavailable, match="advance"):
        asyncio.run(PAYCORE.fetch(None, "pay_01JX", http))


def test_a_list_stops_at_what_is_too_old_to_have_changed() -> None:
    page = [an_invoice(), an_invoice(created=1700000000, updated=1767606091), an_invoice()]
    http = ScriptedHttp(a_reply(200, {"data": page}))

    updates = asyncio.run(everything(PAYCORE.list_since(datetime(2026, 1, 5, tzinfo=UTC), http)))

    assert updates == [SAMPLE.says]
