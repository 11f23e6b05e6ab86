"""Delivery and its bad habits: what is sent, how often, in which order, and by whom."""

import base64
import hashlib
import hmac
import json

import pytest

from sandbox.fedapay import FedaPay
from sandbox.mollie import Mollie
from sandbox.paycore import PayCore
from tests.sandbox.stand import KEYS, SECRETS, Received, Receiver, Stand, wait_until

MADE = {"mollie": 3, "fedapay": 7, "paycore": 4, "zopay": 2, "bridgerpay": 1}


def is_genuine(request: Received) -> bool:
    """Verify a webhook by the documented formula of whoever it claims to come from."""
    name = request.path.removeprefix("/")
    secret = SECRETS[name].encode()
    if name == "mollie":
        expected = "sha256=" + hmac.new(secret, request.body, hashlib.sha256).hexdigest()
        return request.headers["x-mollie-signature"] == expected
    if name == "fedapay":
        signed_at, _, signature = request.headers["x-fedapay-signature"].partition(",s=")
        message = signed_at.removeprefix("t=").encode() + b"." + request.body
        return signature == hmac.new(secret, message, hashlib.sha256).hexdigest()
    if name == "zopay":
        message = ".".join((request.headers["webhook-id"], request.headers["webhook-timestamp"], "")).encode()
        expected = base64.b64encode(hmac.new(secret, message + request.body, hashlib.sha256).digest()).decode()
        return request.headers["webhook-signature"] == f"v1,{expected}"
    if name == "bridgerpay":
        return request.headers["x-bridgerpay-signature"] == hmac.new(secret, request.body, hashlib.sha256).hexdigest()
    digest = hashlib.sha1(secret + request.body + secret, usedforsecurity=False).digest()
    return request.headers["x-signature"] == base64.b64encode(digest).decode()


@pytest.mark.parametrize("gateway", KEYS)
def test_every_webhook_is_genuine_and_counted(stand: Stand, receiver: Receiver, gateway: str) -> None:
    stand.pay(gateway, "pay_1:1")
    stand.wait_until_idle()

    counts = stand.webhooks()
    assert all(is_genuine(request) for request in receiver.received)
    assert [counts[word] for word in ("made", "sent", "accepted", "delivered")] == [MADE[gateway]] * 4
    assert len(receiver.received) == MADE[gateway]
    assert (counts["pending"], stand.stats()["stories_open"]) == (0, 0)


@pytest.mark.parametrize("gateway", KEYS)
def test_dropping_all_sends_none(stand: Stand, receiver: Receiver, gateway: str) -> None:
    stand.behave(drop=1)

    stand.pay(gateway, "pay_1:1")
    stand.wait_until_idle()

    assert receiver.received == []
    assert (stand.webhooks()["made"], stand.webhooks()["dropped"]) == (MADE[gateway], MADE[gateway])
    assert stand.truth()[0]["fate_status"] == "delivered"


@pytest.mark.parametrize("gateway", KEYS)
def test_a_silent_payout_is_delivered_without_a_word(stand: Stand, receiver: Receiver, gateway: str) -> None:
    stand.pay(gateway, "pay_1:1", "#webhooks=none")
    stand.behave(fates={"silent": 1})
    stand.pay(gateway, "pay_2:1")
    stand.wait_until_idle()

    assert receiver.received == []
    assert [payout["fate_status"] for payout in stand.truth()] == ["delivered", "delivered"]


@pytest.mark.parametrize("gateway", KEYS)
def test_a_stuck_payout_stops_in_mid_flight(stand: Stand, gateway: str) -> None:
    stand.pay(gateway, "pay_1:1", "#fate=stuck")
    stand.wait_until_idle()

    assert stand.truth()[0]["fate_status"] in {"initiated", "broadcast"}


@pytest.mark.parametrize("gateway", KEYS)
def test_a_forger_sends_wrong_signatures_and_false_news(stand: Stand, receiver: Receiver, gateway: str) -> None:
    stand.behave(forge=1)
    receiver.answer = lambda request, _nth: 200 if is_genuine(request) else 401

    stand.pay(gateway, "pay_1:1")
    stand.wait_until_idle()

    counts = stand.webhooks()
    forged = [request for request in receiver.received if not is_genuine(request)]
    assert len(forged) == counts["forged_sent"] == counts["forged_refused"] == MADE[gateway]
    assert all(b"failed" in request.body or b"declined" in request.body for request in forged)
    assert (counts["delivered"], counts["forged_accepted"], counts["refused"]) == (MADE[gateway], 0, {})


def test_a_receiver_that_believes_a_forger_is_counted(stand: Stand) -> None:
    stand.behave(forge=1)

    stand.pay("mollie", "pay_1:1")
    stand.wait_until_idle()

    assert stand.webhooks()["forged_accepted"] == 3


def test_repeated_webhooks_are_the_same_bytes(stand: Stand, receiver: Receiver) -> None:
    stand.behave(repeat=1)

    stand.pay("mollie", "pay_1:1")
    stand.wait_until_idle()

    counts = stand.webhooks()
    assert len({request.body for request in receiver.received}) == counts["made"] == 3
    assert 3 <= counts["repeated"] <= 9
    assert counts["sent"] == counts["accepted"] == len(receiver.received) == 3 + counts["repeated"]


def test_a_shuffled_webhook_is_overtaken(stand: Stand, receiver: Receiver) -> None:
    stand.behave(shuffle=0.5, speed=20)

    for n in range(12):
        stand.pay("paycore", f"pay_{n}:1")
    stand.wait_until_idle()

    order: dict[str, list[str]] = {}
    for request in receiver.received:
        resource = json.loads(request.body)["data"]
        order.setdefault(resource["id"], []).append(resource["attributes"]["status"])
    told = ["created", "processing", "process_pending", "processed"]
    assert all(sorted(words) == sorted(told) for words in order.values())
    assert any(words != told for words in order.values())


def test_a_delay_holds_webhooks_back_at_any_speed(stand: Stand, receiver: Receiver) -> None:
    stand.behave(delay_seconds=[0.3, 0.3], speed=1000)

    stand.pay("mollie", "pay_1:1", "#fate=canceled")

    assert receiver.received == []
    stand.wait_until_idle()
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [301, 307, 404, 500])
def test_a_refused_webhook_is_tried_again_with_the_same_body(stand: Stand, receiver: Receiver, status: int) -> None:
    stand.behave(retry_speed=1000)
    receiver.answer = lambda _request, nth: status if nth < 3 else 200

    stand.pay("mollie", "pay_1:1", "#fate=canceled")
    stand.wait_until_idle()

    counts = stand.webhooks()
    assert len({request.body for request in receiver.received}) == 1
    assert (counts["made"], counts["sent"], counts["accepted"], counts["refused"]) == (1, 4, 1, {str(status): 3})
    assert {request.path for request in receiver.received} == {"/mollie"}, "a redirect is not followed"


def test_fedapay_signs_every_try_at_its_own_time(stand: Stand, receiver: Receiver) -> None:
    stand.behave(retry_speed=1000)

    def answer_later(_request: Received, nth: int) -> int:
        stand.clock.ahead_seconds = 100 * (nth + 1)
        return 500 if nth < 2 else 200

    receiver.answer = answer_later
    stand.create("fedapay", "pay_1:1")
    stand.wait_until_idle()

    assert len({request.headers["x-fedapay-signature"] for request in receiver.received}) == 3
    assert len({request.body for request in receiver.received}) == 1
    assert all(is_genuine(request) for request in receiver.received)


def test_a_receiver_that_never_accepts_is_given_up(stand: Stand, receiver: Receiver) -> None:
    stand.behave(retry_speed=1_000_000)
    receiver.answer = lambda _request, _nth: 503

    stand.pay("mollie", "pay_1:1", "#fate=canceled")
    stand.create("fedapay", "pay_2:1")
    stand.wait_until_idle()

    counts = stand.webhooks()
    assert (counts["made"], counts["given_up"], counts["refused"]) == (2, 2, {"503": 10 + 10})


def test_a_receiver_that_is_down_gets_the_webhook_when_it_is_back(stand: Stand, receiver: Receiver) -> None:
    down = "http://127.0.0.1:9/"
    stand.behave(retry_speed=1000)
    stand.control("PUT", "/gateways/mollie", {"webhook_url": down})
    stand.pay("mollie", "pay_1:1", "#fate=canceled")

    wait_until(lambda: stand.webhooks()["failed_tries"] >= 2)
    stand.control("PUT", "/gateways/mollie", {"webhook_url": f"{receiver.url}/mollie"})
    stand.wait_until_idle()

    assert (len(receiver.received), stand.webhooks()["delivered"]) == (1, 1)


def test_webhooks_balance_once_all_is_quiet(stand: Stand, receiver: Receiver) -> None:
    stand.behave(drop=0.2, repeat=0.3, shuffle=0.3, forge=0.3, retry_speed=1000)
    receiver.answer = lambda _request, nth: 500 if nth % 5 == 0 else 200

    for n in range(20):
        for gateway in KEYS:
            stand.pay(gateway, f"pay_{n}:1")
    stand.wait_until_idle()

    counts = stand.webhooks()
    assert counts["made"] == 20 * sum(MADE.values()) == counts["dropped"] + counts["delivered"] + counts["given_up"]
    assert counts["sent"] == counts["accepted"] + sum(counts["refused"].values()) + counts["failed_tries"]
    assert len(receiver.received) == counts["sent"] + counts["forged_sent"]


def test_the_real_schedules_are_kept_as_they_are_published() -> None:
    assert Mollie.WAITS == (60, 120, 240, 480, 960, 1740, 3600, 7200, 79200)
    assert len(FedaPay.WAITS) == 9
    assert max(FedaPay.WAITS) == 120
    assert PayCore.WAITS[:4] == (60, 120, 180, 240)
    assert len(PayCore.WAITS) == 99
