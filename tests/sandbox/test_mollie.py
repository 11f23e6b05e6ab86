"""Mollie: HAL, replay by Idempotency-Key, a list with strangers in it, one event per change."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.sandbox.stand import ORDERS, Receiver, Stand, wait_until


def test_a_created_payout_is_requested_and_can_be_read_again(stand: Stand) -> None:
    stand.behave(speed=0.01)

    created = stand.create("mollie", "pay_1:1")
    body = created.json()

    assert created.status_code == 201
    assert created.headers["content-type"] == "application/hal+json"
    assert body["id"].startswith("payout_")
    assert (body["resource"], body["status"], body["amount"]) == ("payout", "requested", ORDERS["mollie"]["amount"])
    assert (body["description"], body["balanceId"], body["mode"]) == ("pay_1:1", "bal_1", "test")
    assert stand.ask("mollie", "GET", f"/{body['id']}").json() == body


def test_a_wrong_key_and_an_unknown_payout_are_hal_errors(stand: Stand) -> None:
    stranger = stand.ask("mollie", "GET", Authorization="Bearer test_other")
    missing = stand.ask("mollie", "GET", "/payout_none")

    assert (stranger.status_code, stranger.json()["title"]) == (401, "Unauthorized Request")
    assert (missing.status_code, missing.json()["detail"]) == (404, "No payout exists with token payout_none.")
    assert missing.json()["_links"]["documentation"]["type"] == "text/html"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"balanceId": "nonsense"}, "balanceId"),
        ({"amount": {"currency": "EUR", "value": "1.5"}}, "amount.value"),
        ({"amount": {"currency": "EUR", "value": 1.5}}, "amount.value"),
        ({"amount": {"currency": "JPY", "value": "100.00"}}, "amount.value"),
        ({"amount": {"currency": "EUR", "value": "0.00"}}, "amount.value"),
        ({"amount": {"currency": "euro", "value": "1.00"}}, "amount.currency"),
        ({"description": "x" * 256}, "description"),
    ],
)
def test_a_wrong_field_is_422_with_its_name(stand: Stand, wrong: dict[str, Any], field: str) -> None:
    answer = stand.create("mollie", "pay_1:1", **wrong)

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert stand.truth() == []


def test_the_same_idempotency_key_replays_the_answer_for_an_hour(stand: Stand) -> None:
    first = stand.create("mollie", "pay_1:1").json()
    stand.wait_until_idle()
    replayed = stand.create("mollie", "pay_1:1").json()
    assert replayed == first
    assert [payout["submissions"] for payout in stand.truth()] == [1]

    stand.clock.ahead_seconds = 3601
    later = stand.create("mollie", "pay_1:1").json()

    assert later["id"] != first["id"]
    assert [payout["submissions"] for payout in stand.truth()] == [2, 2]


@pytest.mark.parametrize("description", ["pay_1:1", "May run [pay_1:1]", "pay_1:1 May run"])
def test_an_order_without_its_idempotency_key_counts_as_a_second_submission(stand: Stand, description: str) -> None:
    body = {**ORDERS["mollie"], "description": description}

    stand.ask("mollie", "POST", "", body, **{"Idempotency-Key": "one"})
    stand.ask("mollie", "POST", "", body, **{"Idempotency-Key": "two"})

    assert [(payout["order_key"], payout["submissions"]) for payout in stand.truth()] == [("pay_1:1", 2)] * 2


def test_the_list_pages_by_cursor_newest_first_with_strangers_in_it(stand: Stand) -> None:
    ours = [stand.pay("mollie", f"pay_{n}:1") for n in range(9)]
    stand.wait_until_idle()

    page = stand.ask("mollie", "GET", "?limit=4").json()
    listed = page["_embedded"]["payouts"]
    while page["_links"]["next"]:
        cursor = page["_links"]["next"]["href"].partition("?")[2]
        page = stand.ask("mollie", "GET", f"?{cursor}").json()
        listed += page["_embedded"]["payouts"]

    references = [payout["id"] for payout in listed]
    assert [reference for reference in references if reference in ours] == ours[::-1]
    assert len(references) == len(set(references)) == 12
    assert {payout["id"] for payout in listed if payout["description"] == "Automatic payout"} == {*references} - {*ours}
    assert len(stand.truth()) == 9


@pytest.mark.parametrize(
    ("query", "field"), [("from=payout_none", "from"), ("limit=251", "limit"), ("limit=x", "limit")]
)
def test_a_bad_cursor_or_limit_is_400(stand: Stand, query: str, field: str) -> None:
    answer = stand.ask("mollie", "GET", f"?{query}")

    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_a_requested_payout_can_be_canceled_and_an_initiated_one_cannot(stand: Stand) -> None:
    stand.behave(speed=0.01)
    early = stand.pay("mollie", "pay_1:1")
    stand.behave(speed=100)
    late = stand.pay("mollie", "pay_2:1")
    wait_until(lambda: stand.ask("mollie", "GET", f"/{late}").json()["status"] != "requested")

    canceled = stand.ask("mollie", "DELETE", f"/{early}")
    refused = stand.ask("mollie", "DELETE", f"/{late}")

    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    assert refused.status_code == 409
    assert {payout["order_key"]: payout["is_over"] for payout in stand.truth()}["pay_1:1"] is True


def test_a_canceled_payout_goes_no_further(stand: Stand, receiver: Receiver) -> None:
    stand.behave(speed=2)
    reference = stand.pay("mollie", "pay_1:1")

    stand.ask("mollie", "DELETE", f"/{reference}")
    stand.wait_until_idle()

    assert [moment["native"] for moment in stand.truth()[0]["history"]] == ["requested", "canceled"]
    assert [json.loads(request.body)["type"] for request in receiver.received] == ["payout.canceled"]


def test_one_payout_a_day_and_balance_is_refused_only_on_request(stand: Stand) -> None:
    stand.behave(speed=0.01)
    assert stand.create("mollie", "pay_1:1").status_code == 201
    assert stand.create("mollie", "pay_2:1").status_code == 201

    stand.behave(mollie_one_payout_per_day=True)

    assert stand.create("mollie", "pay_3:1").status_code == 422
    assert stand.create("mollie", "pay_4:1", balanceId="bal_2").status_code == 201


def test_a_returned_payout_tells_its_whole_story(stand: Stand, receiver: Receiver) -> None:
    reference = stand.pay("mollie", "pay_1:1", "#fate=returned")
    stand.wait_until_idle()

    # In the order of what happened: a receiver under load may hear two of them the other way round.
    events = sorted((json.loads(one.body) for one in receiver.received), key=lambda event: str(event["createdAt"]))
    words = ["initiated", "processing-at-bank", "completed", "failed"]
    assert [event["type"] for event in events] == [f"payout.{word}" for word in words]
    assert len({event["id"] for event in events}) == 4
    last = events[-1]["_embedded"]["entity"]
    assert (events[-1]["entityId"], last["id"], last["description"]) == (reference, reference, "pay_1:1 #fate=returned")
    assert (last["status"], last["statusReason"]["code"]) == ("failed", "returned")
    assert last["completedAt"] is not None
    (truth,) = stand.truth()
    assert (truth["fate_status"], truth["native_status"], truth["is_over"]) == ("returned", "failed", True)
    assert (Decimal(truth["amount"]), truth["currency"]) == (Decimal("250.00"), "EUR")


def test_a_simple_payload_carries_no_entity(stand: Stand, receiver: Receiver) -> None:
    stand.behave(mollie_simple_payload=1)

    stand.pay("mollie", "pay_1:1")
    stand.wait_until_idle()

    assert len(receiver.received) == 3
    assert all("_embedded" not in json.loads(request.body) for request in receiver.received)
