"""The control API: closed to strangers, strict about wishes, honest about the rest."""

import asyncio
from typing import Any

import pytest

from sandbox.app import create_app
from tests.sandbox.stand import KEYS, Receiver, Stand, a_sandbox, configure


@pytest.mark.parametrize(
    ("wishes", "complaint"),
    [
        ({"sped": 2}, "unknown key 'sped'"),
        ({"speed": 0}, "speed must be above 0"),
        ({"speed": "fast"}, "speed must be a number"),
        ({"drop": 1.5}, "drop must be between 0 and 1"),
        ({"drop": True}, "drop must be a number"),
        ({"delay_seconds": [2, 1]}, "delay_seconds must be [shortest, longest]"),
        ({"delay_seconds": 1}, "delay_seconds must be [shortest, longest]"),
        ({"fates": {"lottery": 1}}, "fates has an unknown fate 'lottery'"),
        ({"fates": {"delivered": 0}}, "fates must be weights"),
        ({"fates": 1}, "fates must weigh some of"),
        ({"mollie_one_payout_per_day": 1}, "mollie_one_payout_per_day must be true or false"),
        ({"fedapay_bodies": "odd"}, "fedapay_bodies must be alternate, wrapped or bare"),
        ([], "behaviour must be a JSON object"),
    ],
)
def test_behaviour_that_does_not_exist_is_400_and_changes_nothing(stand: Stand, wishes: Any, complaint: str) -> None:
    before = stand.control("GET", "/behaviour").json()

    answer = stand.control("PUT", "/behaviour", {"forge": 0.5, **wishes} if isinstance(wishes, dict) else wishes)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_behaviour")
    assert answer.json()["detail"].startswith(complaint)
    assert stand.control("GET", "/behaviour").json() == before


def test_behaviour_changes_only_what_is_named(stand: Stand) -> None:
    before = stand.control("GET", "/behaviour").json()

    after = stand.control("PUT", "/behaviour", {"drop": 0.25}).json()

    assert after == {**before, "drop": 0.25}


@pytest.mark.parametrize(
    ("gateway", "wishes", "status"),
    [
        ("stripe", {}, 404),
        ("mollie", {"secret": "x"}, 400),
        ("mollie", {"account_id": "x"}, 400),
        ("mollie", {"api_key": 1}, 400),
        ("mollie", {"webhook_url": "file:///etc/passwd"}, 400),
        ("mollie", [], 400),
        ("paycore", {"account_id": "coma_2"}, 200),
    ],
)
def test_a_gateway_takes_only_its_own_settings(stand: Stand, gateway: str, wishes: object, status: int) -> None:
    assert stand.control("PUT", f"/gateways/{gateway}", wishes).status_code == status


@pytest.mark.parametrize("gateway", KEYS)
def test_a_gateway_that_nobody_configured_lets_nobody_in(gateway: str) -> None:
    with a_sandbox() as stand:
        assert stand.ask(gateway, "GET", "/pay_none" if gateway == "zopay" else "").status_code == 401


@pytest.mark.parametrize("peer", ["192.0.2.1", "testclient"])
def test_a_peer_that_is_not_loopback_is_refused(peer: str) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/_sandbox/truth", "headers": [], "query_string": b""}

    async def ask() -> None:
        await create_app(7)({**scope, "client": (peer, 1)}, receive, send)

    asyncio.run(ask())

    assert sent[0]["status"] == 403


def test_a_reset_forgets_everything_and_stops_what_was_under_way(stand: Stand, receiver: Receiver) -> None:
    stand.behave(speed=0.01)
    stand.pay("mollie", "pay_1:1")

    assert stand.control("POST", "/reset").status_code == 204

    assert stand.truth() == []
    assert stand.stats()["is_idle"]
    assert stand.ask("mollie", "GET").status_code == 401
    configure(stand, receiver.url)
    stand.pay("mollie", "pay_1:1")
    assert [payout["submissions"] for payout in stand.truth()] == [1]


@pytest.mark.parametrize("gateway", KEYS)
def test_the_latest_webhook_can_be_sent_again(stand: Stand, receiver: Receiver, gateway: str) -> None:
    reference = stand.pay(gateway, "pay_1:1")
    stand.wait_until_idle()
    before = {request.body for request in receiver.received}

    answer = stand.control("POST", f"/webhooks/{gateway}/{reference}/resend")
    stand.wait_until_idle()

    assert answer.status_code == 202
    assert receiver.received[-1].body in before
    assert stand.webhooks()["repeated"] == 1


def test_there_is_nothing_to_send_again_before_the_first_webhook(stand: Stand) -> None:
    stand.behave(speed=0.01)
    reference = stand.pay("mollie", "pay_1:1")

    assert stand.control("POST", f"/webhooks/mollie/{reference}/resend").status_code == 409
    assert stand.control("POST", "/webhooks/mollie/payout_none/resend").status_code == 404
    assert stand.control("POST", "/webhooks/stripe/po_1/resend").status_code == 404


def test_two_sandboxes_of_one_seed_tell_the_same_stories() -> None:
    def stories(order_keys: list[str]) -> dict[str, str]:
        with a_sandbox(seed=11) as stand:
            configure(stand, "http://127.0.0.1:9")
            stand.behave(speed=1000, drop=1, fates={"delivered": 1, "failed": 1, "returned": 1, "canceled": 1})
            for key in order_keys:
                stand.pay("mollie", key)
            stand.wait_until_idle()
            return {payout["order_key"]: payout["fate_status"] for payout in stand.truth()}

    order_keys = [f"pay_{n}:1" for n in range(20)]
    told = stories(order_keys)

    assert told == stories(order_keys[::-1])
    assert len(set(told.values())) == 4
