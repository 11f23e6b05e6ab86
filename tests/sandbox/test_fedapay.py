"""FedaPay: two steps, two shapes of body, two events per change."""

import json
from typing import Any

import pytest

from tests.sandbox.stand import Receiver, Stand


def the_payout(body: dict[str, Any]) -> dict[str, Any]:
    bare: dict[str, Any] = body.get("v1/payout", body)
    return bare


def events(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in receiver.received]


def test_a_created_payout_moves_nothing_until_it_is_started(stand: Stand, receiver: Receiver) -> None:
    created = stand.create("fedapay", "pay_1:1")
    stand.wait_until_idle()
    payout = the_payout(created.json())
    assert (created.status_code, payout["status"], payout["merchant_reference"]) == (201, "pending", "pay_1:1")
    assert [event["name"] for event in events(receiver)] == ["payout.created"]

    started = stand.ask("fedapay", "PUT", "/start", [{"id": payout["id"]}])
    stand.wait_until_idle()

    assert started.status_code == 200
    assert the_payout(stand.ask("fedapay", "GET", f"/{payout['id']}").json())["status"] == "sent"


def test_every_change_is_two_distinct_events(stand: Stand, receiver: Receiver) -> None:
    stand.pay("fedapay", "pay_1:1")
    stand.wait_until_idle()

    told = events(receiver)
    names = sorted(event["name"] for event in told if event["entity"]["status"] == "sent")
    assert names == ["payout.sent", "payout.updated"]
    assert len({event["id"] for event in told}) == len(told) == 7
    assert all(event["entity"]["merchant_reference"] == "pay_1:1" for event in told)


def test_bodies_come_wrapped_bare_or_in_turns(stand: Stand) -> None:
    reference = stand.pay("fedapay", "pay_1:1")

    def shapes() -> list[bool]:
        return ["v1/payout" in stand.ask("fedapay", "GET", f"/{reference}").json() for _ in range(4)]

    assert sorted(shapes()) == [False, False, True, True]
    stand.behave(fedapay_bodies="wrapped")
    assert all(shapes())
    stand.behave(fedapay_bodies="bare")
    assert not any(shapes())


def test_a_payout_is_found_by_its_merchant_reference(stand: Stand) -> None:
    stand.behave(fedapay_bodies="wrapped")
    stand.create("fedapay", "pay_1:1")
    stand.create("fedapay", "pay_10:1")

    found = stand.ask("fedapay", "GET", "/search?search=pay_1:1").json()
    nothing = stand.ask("fedapay", "GET", "/search?search=pay_3:1").json()

    assert [payout["merchant_reference"] for payout in found["v1/payouts"]] == ["pay_1:1"]
    assert (nothing["v1/payouts"], nothing["meta"]["total_count"]) == ([], 0)


def test_the_list_pages_by_number(stand: Stand) -> None:
    stand.behave(fedapay_bodies="wrapped")
    for n in range(5):
        stand.create("fedapay", f"pay_{n}:1")

    pages = [stand.ask("fedapay", "GET", f"?page={page}&per_page=2").json() for page in (1, 2, 3)]

    listed = [payout["merchant_reference"] for page in pages for payout in page["v1/payouts"]]
    assert listed == [f"pay_{n}:1" for n in (4, 3, 2, 1, 0)]
    assert [page["meta"]["next_page"] for page in pages] == [2, 3, None]


def test_a_repeated_merchant_reference_is_refused(stand: Stand) -> None:
    stand.create("fedapay", "pay_1:1")

    again = stand.create("fedapay", "pay_1:1")

    assert (again.status_code, list(again.json()["errors"])) == (422, ["merchant_reference"])
    assert [payout["submissions"] for payout in stand.truth()] == [1]


def test_a_second_start_starts_nothing(stand: Stand) -> None:
    reference = stand.pay("fedapay", "pay_1:1")

    again = stand.ask("fedapay", "PUT", "/start", {"payouts": [{"id": int(reference)}]})

    assert again.status_code == 422


def test_a_start_may_succeed_in_part(stand: Stand) -> None:
    stand.behave(fedapay_bodies="bare")
    known = the_payout(stand.create("fedapay", "pay_1:1").json())["id"]

    answer = stand.ask("fedapay", "PUT", "/start", {"payouts": [{"id": 1}, {"id": known}]})

    assert [payout["id"] for payout in answer.json()] == [known]


def test_a_scheduled_start_waits_first(stand: Stand) -> None:
    reference = the_payout(stand.create("fedapay", "pay_1:1").json())["id"]

    stand.ask("fedapay", "PUT", "/start", {"payouts": [{"id": reference, "scheduled_at": "2026-01-05 18:30:22"}]})
    stand.wait_until_idle()

    words = [moment["native"] for moment in stand.truth()[0]["history"]]
    assert words == ["pending", "scheduled", "started", "processing", "sent"]


def test_only_a_payout_that_was_not_started_can_be_deleted(stand: Stand) -> None:
    waiting = the_payout(stand.create("fedapay", "pay_1:1").json())["id"]
    started = stand.pay("fedapay", "pay_2:1")

    deleted = stand.ask("fedapay", "DELETE", f"/{waiting}")
    refused = stand.ask("fedapay", "DELETE", f"/{started}")

    assert (deleted.status_code, refused.status_code) == (200, 422)
    assert the_payout(deleted.json())["deleted_at"] is not None
    assert stand.truth()[0]["fate_status"] == "canceled"


@pytest.mark.parametrize("wrong", [{"amount": 12.5}, {"amount": "2000"}, {"amount": 0}, {"currency": "XOF"}])
def test_a_wrong_field_is_422_with_its_name(stand: Stand, wrong: dict[str, Any]) -> None:
    answer = stand.create("fedapay", "pay_1:1", **wrong)

    assert (answer.status_code, list(answer.json()["errors"])) == (422, list(wrong))


def test_a_wrong_key_and_an_unknown_payout_are_told_in_a_message(stand: Stand) -> None:
    stranger = stand.ask("fedapay", "GET", Authorization="Bearer sk_sandbox_other")
    missing = stand.ask("fedapay", "GET", "/99")

    assert (stranger.status_code, list(stranger.json())) == (401, ["message"])
    assert (missing.status_code, missing.json()) == (404, {"message": "Payout not found"})


def test_what_fedapay_does_not_have_is_delivered_instead(stand: Stand) -> None:
    stand.pay("fedapay", "pay_1:1", "#fate=returned")
    stand.pay("fedapay", "pay_2:1", "#fate=canceled")
    stand.wait_until_idle()

    assert [payout["fate_status"] for payout in stand.truth()] == ["delivered", "delivered"]
