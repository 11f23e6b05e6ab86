"""What is particular about Mollie."""

import asyncio
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors._base import (
    Accepted,
    GatewayUnavailable,
    InvalidSignature,
    NotFound,
    Order,
    PayoutUpdate,
    Rejected,
    UnreadableEvent,
    WebhookRequest,
)
from models.lifecycle import PayoutStatus
from tests.connectors.fakes import ScriptedHttp, a_reply, everything
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.mollie import SAMPLE, a_payout, an_event

MOLLIE = connector_of("mollie")

SEAL = hmac.new(SAMPLE.secret.encode(), SAMPLE.body, hashlib.sha256).hexdigest().encode()

CANCELED = a_payout(status="canceled", canceledAt="2026-05-12T09:00:00+00:00", statusReason={"code": "canceled"})


def a_page(*payouts: dict[str, Any], following: str | None = None) -> dict[str, Any]:
    return {
        "count": len(payouts),
        "_embedded": {"payouts": list(payouts)},
        "_links": {"next": {"href": following, "type": "application/hal+json"} if following else None},
    }


@pytest.mark.parametrize("values", [[SEAL], [b"sha256=" + SEAL], [b"rubbish", SEAL], [b"sha256=" + b"0" * 64, SEAL]])
def test_the_signature_may_be_bare_and_may_stand_beside_others(values: list[bytes]) -> None:
    MOLLIE.verify(
        WebhookRequest([(b"x-mollie-signature", value) for value in values], SAMPLE.body), ["s", SAMPLE.secret], NOW
    )


@pytest.mark.parametrize(
    "value", [SEAL.upper(), b"sha256=sha256=" + SEAL, b"SHA256=" + SEAL, b"sha1=" + SEAL, SEAL[:32]]
)
def test_no_other_writing_of_the_signature_verifies(value: bytes) -> None:
    with pytest.raises(InvalidSignature):
        MOLLIE.verify(WebhookRequest([(b"x-mollie-signature", value)], SAMPLE.body), [SAMPLE.secret], NOW)


def test_the_event_id_is_the_event_key() -> None:
    assert MOLLIE.event_key(SAMPLE.request()) == "event_Hq3pT8mZ2vYwK9sLx4NbC"


def test_a_simple_payload_says_its_status_by_its_type() -> None:
    (update,) = MOLLIE.parse(an_event(None, type="payout.processing-at-bank"))

    assert update == PayoutUpdate(
        reference="payout_8KfTqJ5rWc2nVbXz3MhLe",
        status=PayoutStatus.BROADCAST,
        said="processing-at-bank",
        occurred_at=datetime(2026, 5, 12, 9, 14, 3, tzinfo=UTC),
    )


def test_a_simple_payload_of_an_unknown_type_is_for_a_person() -> None:
    with pytest.raises(UnreadableEvent, match="status"):
        MOLLIE.parse(an_event(None, type="payout.reconsidered"))


def test_a_ping_says_nothing_about_payouts() -> None:
    assert MOLLIE.parse(an_event(None, type="hook.ping", entityId="hook_1")) == []


def test_a_payout_without_its_event_is_read_too() -> None:
    (update,) = MOLLIE.parse(an_event(None, **a_payout()))

    assert (update.status, update.occurred_at) == (PayoutStatus.RETURNED, datetime(2026, 5, 11, 10, 30, tzinfo=UTC))


def test_a_failure_for_another_reason_is_failed_with_that_reason() -> None:
    (update,) = MOLLIE.parse(an_event(a_payout(statusReason={"code": "bank_processing_failed", "message": "No."})))

    assert (update.status, update.failure_code) == (PayoutStatus.FAILED, "bank_processing_failed")


def test_a_payout_that_has_not_failed_has_no_failure_code() -> None:
    (update,) = MOLLIE.parse(
        an_event(a_payout(status="completed", statusReason={"code": "completed", "message": "Ok"}))
    )

    assert (update.failure_code, update.failure_message) == (None, None)


@pytest.mark.parametrize("value", ["250.001", "-1.00", "1e3", "NaN", "", " 1", "1_0", 250.0, True, [], "9" * 30, "٢٥"])
def test_an_amount_that_is_not_exactly_one_is_unreadable(value: object) -> None:
    with pytest.raises(UnreadableEvent, match="amount"):
        MOLLIE.parse(an_event(a_payout(amount={"currency": "EUR", "value": value})))


@pytest.mark.parametrize("currency", ["XXXX", "eur", None, 7, "EUR\0"])
def test_an_amount_of_an_unknown_currency_is_unreadable(currency: object) -> None:
    with pytest.raises(UnreadableEvent):
        MOLLIE.parse(an_event(a_payout(amount={"currency": currency, "value": "1.00"})))


def test_an_amount_not_known_yet_is_none() -> None:
    (update,) = MOLLIE.parse(an_event(a_payout(amount=None)))

    assert (update.amount_minor, update.currency) == (None, None)


@pytest.mark.parametrize(
    ("description", "order_key"),
    [
        ("May run [pay_1]", "pay_1"),
        ("[pay_0] again [pay_1] ", "pay_1"),
        ("[pay_1]", "pay_1"),
        ("[pay_1] and more", None),
        ("May run", None),
        ("[]", None),
        (None, None),
    ],
)
def test_the_order_key_is_the_last_bracketed_token(description: str | None, order_key: str | None) -> None:
    (update,) = MOLLIE.parse(an_event(a_payout(description=description)))

    assert update.order_key == order_key


def test_a_submission_carries_amount_balance_and_key() -> None:
    http = ScriptedHttp(*SAMPLE.accepted)

    asyncio.run(MOLLIE.submit(SAMPLE.order, http))

    (sent,) = http.sent
    assert (sent.method, sent.url) == ("POST", "https://api.mollie.com/v2/payouts")
    assert sent.headers["Authorization"] == "Bearer live_invented"
    assert sent.headers["Idempotency-Key"] == "pay_01JX"
    assert sent.json == {
        "balanceId": "bal_3kUf4yU2nT",
        "amount": {"currency": "EUR", "value": "250.00"},
        "description": "May run [pay_01JX]",
    }


def test_a_long_description_is_cut_and_the_key_is_not() -> None:
    order = Order(
        order_key="pay_1", amount_minor=1, currency="EUR", description="x" * 400 + "[", details={"balanceId": "bal_1"}
    )
    http = ScriptedHttp(*SAMPLE.accepted)

    asyncio.run(MOLLIE.submit(order, http))

    description = http.sent[0].json["description"]
    assert len(description) == 255
    assert description.endswith("x [pay_1]")


@pytest.mark.parametrize("order_key", ["a]b", "a b", "a\r\nX-Evil: 1", "", "x" * 201])
def test_a_key_that_would_not_come_back_is_refused_before_anything_is_sent(order_key: str) -> None:
    order = Order(order_key=order_key, amount_minor=1, currency="EUR", details={"balanceId": "bal_1"})
    http = ScriptedHttp(a_reply(500))

    submission = asyncio.run(MOLLIE.submit(order, http))

    assert isinstance(submission, Rejected)
    assert http.sent == []


def test_a_refusal_says_which_field() -> None:
    http = ScriptedHttp(
        a_reply(422, {"status": 422, "title": "Unprocessable Entity", "detail": "No.", "field": "amount"})
    )

    assert asyncio.run(MOLLIE.submit(SAMPLE.order, http)) == Rejected(code="amount", message="No.")


def test_a_refusal_without_a_field_says_its_title() -> None:
    http = ScriptedHttp(a_reply(422, {"status": 422, "title": "Unprocessable Entity", "detail": "Blocked."}))

    assert asyncio.run(MOLLIE.submit(SAMPLE.order, http)) == Rejected(code="unprocessable_entity", message="Blocked.")


def test_organisation_tokens_say_testmode_everywhere() -> None:
    mollie = connector_of("mollie", testmode=True)
    http = ScriptedHttp(*SAMPLE.accepted)

    asyncio.run(mollie.submit(SAMPLE.order, http))
    asyncio.run(mollie.fetch("payout_1", "", http))

    assert http.sent[0].json["testmode"] is True
    assert http.sent[1].url == "https://api.mollie.com/v2/payouts/payout_1?testmode=true"


def test_a_payout_is_found_by_our_key_on_a_later_page() -> None:
    http = ScriptedHttp(
        a_reply(
            200, a_page(a_payout(description="automatic", status="new word"), following="https://evil.test/?from=p2")
        ),
        a_reply(200, a_page(a_payout(status="completed"))),
    )

    found = asyncio.run(MOLLIE.fetch(None, "pay_01JX", http))

    assert isinstance(found, PayoutUpdate)
    assert found.status is PayoutStatus.DELIVERED
    assert [sent.url for sent in http.sent] == [
        "https://api.mollie.com/v2/payouts?limit=250",
        "https://api.mollie.com/v2/payouts?limit=250&from=p2",
    ]


def test_only_a_list_read_to_its_end_lacks_a_payout() -> None:
    assert asyncio.run(MOLLIE.fetch(None, "pay_2", ScriptedHttp(a_reply(200, a_page(a_payout()))))) == NotFound()


def test_a_list_that_goes_round_is_not_read_to_its_end() -> None:
    http = ScriptedHttp(a_reply(200, a_page(a_payout(), following="/v2/payouts?from=p1")))

    with pytest.raises(GatewayUnavailable, match="advance"):
        asyncio.run(MOLLIE.fetch(None, "pay_2", http))


def test_ours_with_an_unknown_word_is_neither_found_nor_missing() -> None:
    with pytest.raises(GatewayUnavailable, match="status"):
        asyncio.run(MOLLIE.fetch(None, "pay_01JX", ScriptedHttp(a_reply(200, a_page(a_payout(status="new word"))))))


def test_a_list_shows_what_changed_and_stops_at_what_is_too_old_to_have() -> None:
    page = a_page(
        a_payout(
            id="payout_3", status="requested", createdAt="2026-05-12T08:00:00Z", initiatedAt=None, completedAt=None
        ),
        a_payout(id="payout_2", status="a new word"),
        a_payout(id="payout_1", status="completed", completedAt="2026-05-11T23:00:00Z"),
        a_payout(id="payout_0", createdAt="2026-04-01T00:00:00Z", completedAt="2026-05-12T00:00:00Z"),
        following="/v2/payouts?from=payout_0",
    )
    http = ScriptedHttp(a_reply(200, page))

    updates = asyncio.run(everything(MOLLIE.list_since(datetime(2026, 5, 12, tzinfo=UTC), http)))

    assert [(update.reference, update.status) for update in updates] == [
        ("payout_3", PayoutStatus.PENDING),
        ("payout_2", None),
    ]
    assert len(http.sent) == 1


def test_a_cancellation_answers_with_the_canceled_payout() -> None:
    http = ScriptedHttp(a_reply(200, CANCELED))

    update = asyncio.run(MOLLIE.cancel("payout_1", http))

    assert isinstance(update, PayoutUpdate)
    assert update.status is PayoutStatus.CANCELED
    assert http.sent[0].method == "DELETE"


def test_a_cancellation_that_comes_too_late_is_rejected() -> None:
    http = ScriptedHttp(a_reply(409, {"title": "Conflict", "detail": "Too late."}))

    assert asyncio.run(MOLLIE.cancel("payout_1", http)) == Rejected(code="conflict", message="Too late.")


def test_an_acceptance_is_what_the_answer_says() -> None:
    submission = asyncio.run(MOLLIE.submit(SAMPLE.order, ScriptedHttp(*SAMPLE.accepted)))

    assert isinstance(submission, Accepted)
    assert submission.update.status is PayoutStatus.PENDING
