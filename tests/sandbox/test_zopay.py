"""ZoPay: a quote lives 60 seconds and pays once, a key is answered once, and a test key makes everything repeatable."""

import json
from typing import Any

import pytest
import requests

from sandbox.zopay import ZoPay
from tests.sandbox.stand import KEYS, LIMIT_SECONDS, ORDERS, Receiver, Stand


def pay(stand: Stand, quote_id: str, **headers: str) -> requests.Response:
    return stand.ask("zopay", "POST", "", {"quote_id": quote_id}, **headers)


def code(answer: requests.Response) -> Any:
    """Return the code of an error, in whichever form it comes."""
    body = answer.json()
    return (body.get("error") or body["detail"])["code"]


def test_a_quote_tells_what_it_costs_and_moves_nothing(stand: Stand) -> None:
    quote = stand.quote("pay_1:1").json()

    assert (quote["user_sends"], quote["recipient_gets"], quote["fee_total_usd"]) == ("100.00", "99.20", "0.80")
    assert (quote["insufficient_funds"], quote["recommendation"]) == (None, None)
    assert stand.truth() == []


def test_a_payout_is_pending_and_repeats_its_quote(stand: Stand) -> None:
    quote = stand.quote("pay_1:1").json()

    answer = pay(stand, quote["quote_id"])
    payout = answer.json()

    assert (answer.status_code, payout["status"]) == (201, "pending")
    assert payout["id"].startswith("pay_")
    assert payout["quote"].items() <= quote.items()
    assert payout["tracking_url"].endswith(payout["id"])


def test_the_estimate_moves_as_the_payout_advances(stand: Stand) -> None:
    reference = stand.pay("zopay", "pay_1:1")
    first = stand.ask("zopay", "GET", f"/{reference}").json()["estimated_delivery_at"]
    stand.wait_until_idle()

    last = stand.ask("zopay", "GET", f"/{reference}").json()

    assert last["status"] == "delivered"
    assert last["estimated_delivery_at"] != first


def test_a_live_quote_pays_once(stand: Stand) -> None:
    quote_id = stand.quote("pay_1:1").json()["quote_id"]
    pay(stand, quote_id)

    again = pay(stand, quote_id)

    assert (again.status_code, code(again)) == (409, "quote_already_used")
    assert [payout["submissions"] for payout in stand.truth()] == [1]


def test_a_quote_that_has_run_out_pays_nothing(stand: Stand) -> None:
    stand.behave(speed=1)
    quote_id = stand.quote("pay_1:1").json()["quote_id"]
    stand.clock.ahead_seconds = 59
    stand.quote("pay_2:1")
    stand.clock.ahead_seconds = 61

    answer = pay(stand, quote_id)

    assert (answer.status_code, code(answer)) == (409, "quote_expired")
    assert stand.truth() == []


def test_a_quote_that_nobody_made_is_404(stand: Stand) -> None:
    answer = pay(stand, "q_none")

    assert (answer.status_code, code(answer)) == (404, "quote_not_found")


def test_insufficient_funds_are_told_in_a_200_and_cannot_be_paid(stand: Stand) -> None:
    quoted = stand.quote("pay_1:1", amount="1000012.5")

    answer = pay(stand, quoted.json()["quote_id"])

    funds = {"needed": "12.5", "asset": "USDT", "network_with_lowest_top_up_fee": "tron"}
    assert (quoted.status_code, quoted.json()["insufficient_funds"]) == (200, funds)
    assert (answer.status_code, code(answer)) == (422, "insufficient_funds")
    assert stand.truth() == []


def test_the_same_key_and_body_are_answered_the_same_for_a_day(stand: Stand) -> None:
    stand.behave(speed=0.01)
    quotes = [stand.quote("pay_1:1").json() for _ in range(2)]
    key = {"Idempotency-Key": "pay_1:1"}
    answers = [pay(stand, quotes[0]["quote_id"], **key).json() for _ in range(2)]
    stand.clock.ahead_seconds = 24 * 3600 + 1

    later = pay(stand, quotes[0]["quote_id"], **key)

    assert quotes[0] == quotes[1]
    assert answers[0] == answers[1]
    assert (later.status_code, code(later)) == (409, "quote_already_used")
    assert [payout["submissions"] for payout in stand.truth()] == [1]


def test_the_same_key_with_another_body_is_a_conflict(stand: Stand) -> None:
    stand.quote("pay_1:1")

    again = stand.quote("pay_1:1", amount="7")

    assert (again.status_code, code(again)) == (409, "idempotency_conflict")


@pytest.mark.parametrize("key", ["", "a b", "é".encode().decode("latin-1"), "k" * 256])
def test_a_malformed_key_is_400_even_to_a_stranger(stand: Stand, key: str) -> None:
    url = f"{stand.url}/zopay/connect/v1/payouts/quote"

    answer = requests.post(url, json={}, headers={"Idempotency-Key": key}, timeout=LIMIT_SECONDS)

    assert (answer.status_code, code(answer)) == (400, "idempotency_key_malformed")


def test_a_quote_needs_a_key_and_a_payout_does_not(stand: Stand) -> None:
    bare = stand.ask("zopay", "POST", "/quote", {**ORDERS["zopay"], "external_ref": "user-7"})
    quote_id = stand.quote("pay_1:1").json()["quote_id"]

    assert (bare.status_code, code(bare)) == (400, "idempotency_key_required")
    assert pay(stand, quote_id).status_code == 201


@pytest.mark.parametrize(
    ("wrong", "status", "said"),
    [
        ({"external_ref": "unknown-9"}, 404, "external_ref_unknown"),
        ({"external_ref": ""}, 422, "invalid_external_ref"),
        ({"destination": "x" * 129}, 422, "invalid_destination"),
        ({"asset": "EUR"}, 422, "asset_unsupported"),
        ({"amount": 100}, 422, "invalid_amount"),
        ({"amount": "0"}, 422, "invalid_amount"),
        ({"amount": "1.0000001"}, 422, "invalid_amount"),
    ],
)
def test_a_wrong_field_is_refused_with_its_code(stand: Stand, wrong: dict[str, Any], status: int, said: str) -> None:
    answer = stand.quote("pay_1:1", **wrong)

    assert (answer.status_code, code(answer)) == (status, said)


def test_errors_come_in_two_forms(stand: Stand) -> None:
    forms = {next(iter(pay(stand, "q_none").json())) for _ in range(2)}

    assert forms == {"error", "detail"}


def test_under_a_test_key_equal_orders_are_one_payout_and_no_quote_is_used_up(stand: Stand) -> None:
    stand.control("PUT", "/gateways/zopay", {"api_key": "sk_test_1"})
    auth = {"Authorization": "Bearer sk_test_1"}
    wish = {**ORDERS["zopay"], "external_ref": "user-7"}

    quotes = [stand.ask("zopay", "POST", "/quote", wish, **auth, **{"Idempotency-Key": f"k{n}"}) for n in (1, 2)]
    payouts = [pay(stand, quote.json()["quote_id"], **auth) for quote in quotes]

    assert len({quote.json()["quote_id"] for quote in quotes}) == 1
    assert len({payout.json()["id"] for payout in payouts}) == 1
    assert [payout.status_code for payout in payouts] == [201, 201]
    assert [payout["submissions"] for payout in stand.truth()] == [1]


def test_a_payout_whose_answer_was_lost_is_told_again_under_its_key(stand: Stand) -> None:
    quote_id = stand.quote("pay_1:1").json()["quote_id"]
    stand.behave(timeout_after_accept=1)
    with pytest.raises(requests.ConnectionError):
        pay(stand, quote_id, **{"Idempotency-Key": "pay_1:1"})

    without_key = pay(stand, quote_id)
    with_key = pay(stand, quote_id, **{"Idempotency-Key": "pay_1:1"})

    assert code(without_key) == "quote_already_used"
    assert with_key.json()["id"] == stand.truth()[0]["reference"]


def test_steering_words_stand_in_the_external_ref(stand: Stand) -> None:
    stand.pay("zopay", "pay_1:1", "#fate=failed")
    stand.wait_until_idle()

    (truth,) = stand.truth()
    payout = stand.ask("zopay", "GET", f"/{truth['reference']}").json()
    assert (payout["status"], payout["failure_reason"]) == ("failed", "reverted_on_chain")


def test_an_event_keeps_its_id_over_tries_and_is_signed_anew(stand: Stand, receiver: Receiver) -> None:
    stand.behave(retry_speed=1000)

    def answer_later(_request: object, nth: int) -> int:
        stand.clock.ahead_seconds = 100 * (nth + 1)
        return 500 if nth < 2 else 200

    receiver.answer = answer_later
    stand.pay("zopay", "pay_1:1", "#fate=stuck")
    stand.wait_until_idle()

    assert len({request.headers["webhook-signature"] for request in receiver.received}) == 3
    assert {request.headers["webhook-id"] for request in receiver.received} == {
        json.loads(request.body)["id"] for request in receiver.received
    }


def test_without_a_webhook_url_there_is_only_asking(stand: Stand, receiver: Receiver) -> None:
    stand.control("PUT", "/gateways/zopay", {"webhook_url": ""})

    reference = stand.pay("zopay", "pay_1:1")
    stand.wait_until_idle()

    assert receiver.received == []
    assert stand.ask("zopay", "GET", f"/{reference}").json()["status"] == "delivered"


def test_there_is_no_list_and_no_cancel(stand: Stand) -> None:
    reference = stand.pay("zopay", "pay_1:1")

    assert stand.ask("zopay", "GET").status_code == 405
    assert stand.ask("zopay", "DELETE", f"/{reference}").status_code == 405
    assert stand.ask("zopay", "GET", "/pay_none").status_code == 404
    assert KEYS["zopay"].startswith("sk_live_")
    assert len(ZoPay.WAITS) == 9
