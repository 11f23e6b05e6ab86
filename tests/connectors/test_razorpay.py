"""What is particular about RazorpayX."""

import asyncio
import base64

from connectors._base import WebhookRequest
from models.lifecycle import PayoutStatus, join
from tests.connectors.fakes import ScriptedHttp
from tests.connectors.sample import connector_of
from tests.connectors.samples.razorpay import SAMPLE, a_payout, an_event

RAZORPAY = connector_of("razorpay")


def under_the_id(event_id: bytes, body: bytes) -> str:
    return RAZORPAY.event_key(WebhookRequest([*SAMPLE.request().headers, (b"x-razorpay-event-id", event_id)], body))


def test_a_signed_body_replayed_under_a_new_header_id_is_still_the_same_message() -> None:
    assert under_the_id(b"evt_1", SAMPLE.body) == under_the_id(b"evt_2", SAMPLE.body)
    assert under_the_id(b"evt_1", SAMPLE.body) == RAZORPAY.event_key(SAMPLE.request())


def test_two_different_bodies_under_one_header_id_are_two_messages() -> None:
    later = an_event(a_payout(utr="000123456790"), event="payout.updated")

    assert under_the_id(b"evt_1", SAMPLE.body) != under_the_id(b"evt_1", later)


def test_reversed_after_processed_is_not_ignored() -> None:
    (processed,), (reversed_) = RAZORPAY.parse(SAMPLE.body), RAZORPAY.parse(SAMPLE.body_saying("reversed"))

    assert processed.status
    assert reversed_[0].status
    assert join(processed.status, reversed_[0].status) is PayoutStatus.RETURNED


def test_news_of_a_downtime_are_not_about_a_payout() -> None:
    body = an_event({}, event="payout.downtime.started", payload={"payout.downtime": {"entity": {"id": "down_1"}}})

    assert RAZORPAY.parse(body) == []


def test_what_went_wrong_is_told_where_it_went_wrong() -> None:
    details = {"reason": "beneficiary_bank_rejected", "description": "Rejected.", "source": "beneficiary_bank"}

    (update,) = RAZORPAY.parse(an_event(a_payout(status="failed", status_details=details)))

    assert (update.failure_code, update.failure_message) == ("beneficiary_bank_rejected", "Rejected.")


def test_a_call_logs_in_with_key_and_secret() -> None:
    assert SAMPLE.fetched is not None
    http = ScriptedHttp(SAMPLE.fetched)

    asyncio.run(RAZORPAY.fetch("pout_1", "pay_01JX", http))

    assert http.sent[0].url == "https://api.razorpay.com/v1/payouts/pout_1"
    assert http.sent[0].headers["Authorization"] == "Basic " + base64.b64encode(b"rzp_live_invented:invented").decode()
