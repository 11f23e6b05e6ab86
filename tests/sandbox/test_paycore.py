"""PayCore: JSON:API in PHP's hand, a unique reference_id, nothing but 200 is success."""

import json
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.sandbox.stand import LIMIT_SECONDS, ORDERS, Receiver, Stand


@pytest.mark.parametrize("is_document", [False, True])
def test_a_flat_body_and_a_document_are_both_accepted(stand: Stand, *, is_document: bool) -> None:
    flat = {**ORDERS["paycore"], "reference_id": "pay_1:1"}
    body = {"data": {"type": "payout-invoice", "attributes": flat}} if is_document else flat

    created = stand.ask("paycore", "POST", "", body)
    resource = json.loads(created.text, parse_float=Decimal)["data"]

    assert created.status_code == 201
    assert (resource["type"], resource["attributes"]["status"]) == ("payout-invoices", "created")
    assert (resource["attributes"]["amount"], resource["attributes"]["reference_id"]) == (Decimal("12.5"), "pay_1:1")
    assert resource["id"].startswith("cpoi_")


def test_a_repeated_reference_id_is_429(stand: Stand) -> None:
    stand.create("paycore", "pay_1:1")

    again = stand.create("paycore", "pay_1:1")

    assert (again.status_code, again.json()["errors"][0]["detail"]) == (429, "Duplicate request detected")
    assert [payout["submissions"] for payout in stand.truth()] == [1]


def test_an_invoice_is_found_by_reference_id_and_the_list_pages(stand: Stand) -> None:
    ours = [stand.pay("paycore", f"pay_{n}:1") for n in range(5)]

    found = stand.ask("paycore", "GET", "?filter[reference_id]=pay_2:1").json()
    nothing = stand.ask("paycore", "GET", "?filter[reference_id]=pay_9:1").json()
    pages = [stand.ask("paycore", "GET", f"?page[number]={n}&page[size]=2").json() for n in (1, 2, 3)]

    assert [resource["id"] for resource in found["data"]] == [ours[2]]
    assert nothing["data"] == []
    assert [resource["id"] for page in pages for resource in page["data"]] == ours[::-1]
    assert [page["links"]["next"] is None for page in pages] == [False, False, True]


def test_a_wrong_key_is_401_and_an_unknown_invoice_404(stand: Stand) -> None:
    url = f"{stand.url}/paycore/api/payout-invoices"
    stranger = requests.get(url, auth=("coma_1", "sk_test_other"), timeout=LIMIT_SECONDS)
    nobody = requests.get(url, timeout=LIMIT_SECONDS)
    missing = stand.ask("paycore", "GET", "/cpoi_none")

    assert [answer.status_code for answer in (stranger, nobody, missing)] == [401, 401, 404]
    assert stranger.json()["errors"][0]["status"] == "401"


@pytest.mark.parametrize("wrong", [{"amount": "12.50"}, {"amount": -1}, {"currency": None}, {"reference_id": ""}])
def test_a_wrong_attribute_is_422_with_a_pointer(stand: Stand, wrong: dict[str, Any]) -> None:
    answer = stand.create("paycore", "pay_1:1", **wrong)

    pointer = answer.json()["errors"][0]["source"]["pointer"]
    assert (answer.status_code, pointer) == (422, f"/data/attributes/{next(iter(wrong))}")


def test_webhooks_are_written_as_php_writes(stand: Stand, receiver: Receiver) -> None:
    stand.create("paycore", "pay_1:1", callback_url=f"{receiver.url}/of-the-object")
    stand.wait_until_idle()

    assert {request.path for request in receiver.received} == {"/of-the-object"}
    assert all(rb'"callback_url":"http:\/\/127.0.0.1' in request.body for request in receiver.received)
    assert all(b'"fields":[],"metadata":[]' in request.body for request in receiver.received)
    assert all(b'"reference_id":"pay_1:1"' in request.body for request in receiver.received)


def test_a_recalled_invoice_is_canceled_and_keeps_when_it_was_processed(stand: Stand, receiver: Receiver) -> None:
    stand.pay("paycore", "pay_1:1", "#fate=returned")
    stand.wait_until_idle()

    told = [json.loads(request.body)["data"]["attributes"] for request in receiver.received]
    last = next(attributes for attributes in told if attributes["status"] == "canceled")
    assert isinstance(last["processed"], int)
    assert len({attributes["updated"] for attributes in told}) < len(told), "changes of one second look alike"
    assert stand.truth()[0]["fate_status"] == "returned"


def test_a_created_invoice_can_be_canceled(stand: Stand) -> None:
    stand.behave(speed=0.01)
    reference = stand.pay("paycore", "pay_1:1")

    canceled = stand.ask("paycore", "POST", f"/{reference}/cancel")
    again = stand.ask("paycore", "POST", f"/{reference}/cancel")

    assert (canceled.status_code, again.status_code) == (200, 422)
    assert stand.truth()[0]["fate_status"] == "canceled"


def test_204_is_not_success_and_is_tried_again(stand: Stand, receiver: Receiver) -> None:
    stand.behave(retry_speed=10_000)
    receiver.answer = lambda _request, nth: 204 if nth < 3 else 200

    stand.pay("paycore", "pay_1:1", "#fate=canceled")
    stand.wait_until_idle()

    counts = stand.webhooks()
    assert (counts["made"], counts["delivered"], counts["refused"]) == (2, 2, {"204": 3})
    assert {"0", "1"} <= {request.headers["retry-count"] for request in receiver.received}


def test_mollie_takes_204_for_an_answer(stand: Stand, receiver: Receiver) -> None:
    receiver.answer = lambda _request, _nth: 204

    stand.pay("mollie", "pay_1:1")
    stand.wait_until_idle()

    assert (stand.webhooks()["sent"], stand.webhooks()["delivered"]) == (3, 3)
