"""BridgerPay: the code in the envelope counts, logins run out, the list lags, and news proves nothing."""

import json
from decimal import Decimal
from typing import Any

import pytest
import requests

from sandbox.bridgerpay import BridgerPay
from tests.sandbox.stand import BASES, LIMIT_SECONDS, MORE, Receiver, Stand


def records(stand: Stand, query: str = "") -> list[dict[str, Any]]:
    answer = stand.ask("bridgerpay", "GET", query)
    assert answer.json()["response"]["code"] == 200
    found: list[dict[str, Any]] = answer.json()["result"]["records"]
    return found


def test_a_login_gives_a_token_that_runs_out(stand: Stand) -> None:
    stand.behave(bridgerpay_token_seconds=60)
    login = stand.log_in().json()["result"]["access_token"]
    auth = {"Authorization": f"Bearer {login['token']}"}

    now = stand.ask("bridgerpay", "GET", **auth)
    stand.clock.ahead_seconds = 61
    later = stand.ask("bridgerpay", "GET", **auth)

    assert login["expires_in"] == 60
    assert (now.status_code, later.status_code) == (200, 401)
    assert later.json()["response"]["code"] == 401


def test_a_wrong_password_a_wrong_key_and_a_wrong_version_are_401(stand: Stand) -> None:
    token = stand.log_in().json()["result"]["access_token"]["token"]
    paths = ["/bridgerpay/v2/another-key/payouts", BASES["bridgerpay"].replace("v2", "v3")]
    answers = [
        requests.get(f"{stand.url}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=LIMIT_SECONDS)
        for path in paths
    ]

    assert stand.log_in("wrong").status_code == 401
    assert [answer.status_code for answer in answers] == [401, 401]


def test_a_gateway_without_a_password_logs_nobody_in(stand: Stand) -> None:
    stand.control("PUT", "/gateways/bridgerpay", {"account_id": "", "password": ""})

    assert stand.log_in("").status_code == 401


def test_a_payout_is_wrapped_and_its_words_are_capitalised(stand: Stand) -> None:
    stand.behave(speed=0.01)

    created = stand.create("bridgerpay", "pay_1:1")
    (record,) = records(stand)
    body = json.loads(created.text, parse_float=Decimal)

    assert body["response"] == {"status": "OK", "code": 200, "message": "OK"}
    assert (body["result"]["status"], body["result"]["amount"]) == ("Pending", Decimal("250.5"))
    assert (record["id"], record["merchant_order_id"]) == (body["result"]["id"], "pay_1:1")
    assert (record["status"], record["payout_method_type"]) == ("Pending", "BankAccount")
    assert len(record["processing_date"]) == len("2026-01-01 00:00:00")


def test_an_order_sent_twice_is_paid_twice_and_found_out(stand: Stand) -> None:
    for _ in range(2):
        stand.create("bridgerpay", "pay_1:1")

    assert [payout["submissions"] for payout in stand.truth()] == [2, 2]
    assert len(records(stand, "?merchantOrderId=pay_1:1")) == 2


def test_a_create_whose_answer_is_lost_stands_in_the_list(stand: Stand) -> None:
    stand.behave(timeout_after_accept=1)
    with pytest.raises(requests.ConnectionError):
        stand.create("bridgerpay", "pay_1:1")

    assert [record["merchant_order_id"] for record in records(stand)] == ["pay_1:1"]


def test_a_new_payout_shows_in_the_list_only_after_a_while(stand: Stand) -> None:
    stand.behave(bridgerpay_shown_after_seconds=[30, 30])
    stand.pay("bridgerpay", "pay_1:1")

    before = records(stand)
    stand.clock.ahead_seconds = 31

    assert before == []
    assert len(records(stand)) == 1


def test_the_list_filters_and_pages_newest_first(stand: Stand) -> None:
    for n in range(5):
        stand.pay("bridgerpay", f"pay_{n}:1", "#fate=stuck" if n == 3 else "")
    stand.wait_until_idle()

    pages = [[record["merchant_order_id"] for record in records(stand, f"?limit=2&page={n}")] for n in (1, 2, 3, 4)]

    assert pages == [["pay_4:1", "pay_3:1"], ["pay_2:1", "pay_1:1"], ["pay_0:1"], []]
    assert [record["merchant_order_id"] for record in records(stand, "?merchantOrderId=pay_2:1")] == ["pay_2:1"]
    assert [record["status"] for record in records(stand, "?status=in_process")] == ["InProcess"]
    assert records(stand, "?sortDir=asc")[0]["merchant_order_id"] == "pay_0:1"


@pytest.mark.parametrize("soft", [0, 1])
@pytest.mark.parametrize("wrong", [{"amount": "250"}, {"amount": 0}, {"country": None}, {"metadata": []}])
def test_a_wrong_field_is_400_in_the_envelope_and_perhaps_not_in_http(
    stand: Stand, wrong: dict[str, Any], soft: int
) -> None:
    stand.behave(bridgerpay_soft_errors=soft)

    answer = stand.create("bridgerpay", "pay_1:1", **wrong)

    assert answer.status_code == (200 if soft else 400)
    assert answer.json()["response"]["code"] == 400
    assert [fault["field"] for fault in answer.json()["result"]] == list(wrong)
    assert stand.truth() == []


def test_an_outage_never_hides_in_a_200(stand: Stand) -> None:
    stand.behave(bridgerpay_soft_errors=1, refuse=1)

    assert stand.create("bridgerpay", "pay_1:1").status_code == 503


def test_the_metadata_name_the_fields_to_fill_in(stand: Stand) -> None:
    (provider,) = stand.ask("bridgerpay", "GET", "/metadata?country=BE&currency=EUR").json()["result"]["providers"]

    assert (provider["payout_method_type"], provider["fields"][0]["name"]) == ("bank_account", "bankAccountNumber")


def test_there_is_news_of_the_end_only_and_its_time_may_be_zero(stand: Stand, receiver: Receiver) -> None:
    stand.pay("bridgerpay", "pay_1:1", "#fate=returned")
    stand.wait_until_idle()

    told = {(news := json.loads(request.body))["webhook"]["type"]: news for request in receiver.received}
    charges = {kind: news["data"]["charge"] for kind, news in told.items()}
    assert set(told) == {"approved", "refunded"}
    assert {charge["operation_type"] for charge in charges.values()} == {"payout"}
    assert charges["approved"]["attributes"]["updated_at"] == 0
    assert charges["refunded"]["attributes"]["updated_at"] > 0
    assert stand.truth()[0]["fate_status"] == "returned"


def test_without_a_secret_news_is_bare(stand: Stand, receiver: Receiver) -> None:
    stand.control("PUT", "/gateways/bridgerpay", {"webhook_secret": ""})

    stand.pay("bridgerpay", "pay_1:1")
    stand.wait_until_idle()

    assert [name for name in receiver.received[0].headers if "signature" in name] == []


def test_news_of_deposits_comes_in_between(stand: Stand, receiver: Receiver) -> None:
    stand.behave(bridgerpay_deposits=1)

    stand.pay("bridgerpay", "pay_1:1")
    stand.wait_until_idle()

    news = [json.loads(request.body) for request in receiver.received]
    assert {item["data"]["charge"]["operation_type"] for item in news} == {"deposit", "payout"}
    assert {item["webhook"]["type"] for item in news} == {"approved"}


@pytest.mark.parametrize(
    ("words", "more"),
    [("#fate=failed", {}), ("", {"metadata": {"note": "#fate=failed"}})],
    ids=["description", "metadata"],
)
def test_steering_words_stand_in_the_description_or_the_metadata(
    stand: Stand, words: str, more: dict[str, Any]
) -> None:
    stand.create("bridgerpay", "pay_1:1", words, **more)
    stand.wait_until_idle()

    (declined,) = records(stand, "?status=declined")
    assert (declined["decline_code"], declined["decline_reason"]) == ("do_not_honor", "The bank refused it.")


def test_the_assumed_schedule_has_five_tries() -> None:
    assert BridgerPay.WAITS == (60, 300, 900, 3600)
    assert set(MORE["bridgerpay"]) == {"account_id", "password"}
