"""Misbehaving API calls: carried out without an answer, refused without being carried out, late."""

import pytest
import requests

from tests.sandbox.stand import KEYS, ORDERS, Stand


@pytest.mark.parametrize("gateway", ["mollie", "fedapay", "paycore", "zopay"])
def test_a_create_that_times_out_after_acceptance_counts_once(stand: Stand, gateway: str) -> None:
    stand.behave(timeout_after_accept=1)
    with pytest.raises(requests.ConnectionError):
        stand.create(gateway, "pay_1:1")

    again = stand.create(gateway, "pay_1:1")

    assert again.status_code == {"mollie": 201, "fedapay": 422, "paycore": 429, "zopay": 201}[gateway]
    assert [payout["submissions"] for payout in stand.truth()] == [1]
    assert stand.stats()["misbehaved"]["timed_out_after_accept"] == 1


def test_a_start_that_times_out_is_carried_out(stand: Stand) -> None:
    stand.create("fedapay", "pay_1:1")
    reference = int(stand.truth()[0]["reference"])
    stand.behave(timeout_after_accept=1)

    with pytest.raises(requests.ConnectionError):
        stand.ask("fedapay", "PUT", "/start", {"payouts": [{"id": reference}]})
    stand.wait_until_idle()

    assert stand.truth()[0]["fate_status"] == "delivered"


def test_another_order_under_the_same_words_is_a_second_submission(stand: Stand) -> None:
    body = {**ORDERS["mollie"], "description": "pay_1:1"}

    for _ in range(2):
        stand.ask("mollie", "POST", "", body)

    assert [payout["submissions"] for payout in stand.truth()] == [2, 2]


@pytest.mark.parametrize("gateway", KEYS)
def test_a_refused_call_carries_nothing_out(stand: Stand, gateway: str) -> None:
    stand.behave(refuse=1)

    answer = stand.create(gateway, "pay_1:1")

    assert answer.status_code == 503
    assert stand.truth() == []
    assert stand.stats()["misbehaved"]["refused"] == 1


def test_a_slow_call_is_answered_all_the_same(stand: Stand) -> None:
    stand.behave(slow=1, slow_seconds=[0.2, 0.2])

    answer = stand.create("mollie", "pay_1:1")

    assert answer.status_code == 201
    assert answer.elapsed.total_seconds() >= 0.2


@pytest.mark.parametrize("gateway", KEYS)
def test_a_body_that_is_no_json_is_400(stand: Stand, gateway: str) -> None:
    assert stand.ask(gateway, "POST", "", ["not an object"]).status_code == 400


def test_calls_are_counted_by_gateway_and_operation(stand: Stand) -> None:
    stand.pay("fedapay", "pay_1:1")
    stand.ask("mollie", "GET")

    calls = {gateway: counts for gateway, counts in stand.stats()["api"].items() if counts}
    assert calls == {"mollie": {"list": 1}, "fedapay": {"create": 1, "start": 1}}
