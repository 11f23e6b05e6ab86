"""What is particular about Modern Treasury."""

from typing import Any

import pytest

from connectors._base import WebhookRequest
from models.lifecycle import PayoutStatus, join
from tests.connectors.sample import connector_of
from tests.connectors.samples.modern_treasury import SAMPLE, an_event, an_order

TREASURY = connector_of("modern_treasury")


def test_the_ids_in_unsigned_headers_make_no_message_another() -> None:
    keys = {
        TREASURY.event_key(WebhookRequest([(b"x-webhook-id", text), (b"x-topic", b"return")], SAMPLE.body))
        for text in (b"1", b"2")
    }

    assert keys == {TREASURY.event_key(SAMPLE.request())}


def test_a_debit_takes_money_in() -> None:
    assert TREASURY.parse(an_event(an_order(direction="debit"))) == []


@pytest.mark.parametrize(
    ("subject", "reference"),
    [
        ({"object": "return", "id": "r1", "returnable_type": "payment_order", "returnable_id": "po1"}, "po1"),
        ({"object": "reversal", "id": "r2", "payment_order_id": "po2"}, "po2"),
        ({"object": "return", "id": "r3", "returnable_type": "incoming_payment_detail", "returnable_id": "x"}, None),
        ({"object": "return", "id": "r4", "returnable_type": "payment_order", "returnable_id": None}, None),
    ],
)
def test_a_return_or_a_reversal_makes_us_ask(subject: dict[str, Any], reference: str | None) -> None:
    updates = TREASURY.parse(an_event(subject, "created"))

    assert [(update.reference, update.status) for update in updates] == ([(reference, None)] if reference else [])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PayoutStatus.SCHEDULED, PayoutStatus.CANCELED),
        (PayoutStatus.BROADCAST, PayoutStatus.FAILED),
        (PayoutStatus.DELIVERED, PayoutStatus.RETURNED),
    ],
)
def test_a_stopped_order_is_what_it_was_when_it_was_stopped(before: PayoutStatus, after: PayoutStatus) -> None:
    (update,) = TREASURY.parse(SAMPLE.body_saying("stopped"))

    assert update.status
    assert join(before, update.status) is after


def test_a_returned_order_says_why() -> None:
    order = an_order(status="returned", current_return={"code": "R03", "reason": "No account."})

    (update,) = TREASURY.parse(an_event(order, "returned"))

    assert (update.status, update.failure_code, update.failure_message) == (
        PayoutStatus.RETURNED,
        "R03",
        "No account.",
    )
