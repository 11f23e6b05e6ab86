"""Balances over HTTP: what is there, what was booked, and payouts of them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from freezegun import freeze_time

from models.balance import Balance
from models.database import transaction
from models.lifecycle import PayoutStatus
from payouts.destinations import set_destination
from payouts.treasury import By
from tests.factories import a_balance, a_payout, an_integration, get_balance, get_payout, say
from tests.payouts.test_balances import WISH
from tests.receiver.partners.partner import Answer, Partner

APartner = Callable[..., Partner]

pytestmark = pytest.mark.usefixtures("database")


def _paying(amount_minor: int = 10_000, **terms: Any) -> Balance:
    """Return a balance that has somewhere to pay to."""
    balance = a_balance(amount_minor, **terms)
    slug = an_integration(test_mode=balance.test_mode).slug
    with transaction() as session:
        set_destination(session, balance.id, slug, WISH, By("test", "", datetime.now(UTC)))
    return get_balance(balance.id)


def _pay(partner: Partner, balance_id: str, **more: Any) -> Answer:
    return partner.post("/v1/payouts", {"balance_id": balance_id, **more})


def test_a_balance_shows_what_is_there_and_what_is_spoken_for(partner: Partner) -> None:
    balance = _paying(10_000, reserve_minor=1_500)
    a_payout(amount_minor=2_000)

    shown = partner.get(f"/v1/balances/{balance.id}").json

    assert shown.pop("created_at").endswith("Z")
    assert shown.pop("destination").endswith("•••• 2051")
    assert shown == {
        "id": balance.id,
        "currency": "EUR",
        "status": "active",
        "available": "65.00",
        "held": "20.00",
        "reserve": "15.00",
        "balance": "100.00",
        "negative_threshold": "0.00",
        "payouts_blocked": None,
        "queued_refunds": 0,
        "transfer_frequency": "never",
        "next_transfer_at": None,
        "test_mode": False,
    }


def test_a_key_sees_the_balances_of_its_organisation_and_mode(a_partner: APartner) -> None:
    live, tested, theirs = a_balance(1), a_balance(2, test_mode=True), a_balance(3, organisation="Other")
    also_live = a_balance(4, currency="XOF")

    assert [row["id"] for row in a_partner().get("/v1/balances").json["data"]] == [also_live.id, live.id]
    assert [row["id"] for row in a_partner(test_mode=True).get("/v1/balances").json["data"]] == [tested.id]
    for path in ("", "/entries"):
        for balance in (tested, theirs):
            answer = a_partner().get(f"/v1/balances/{balance.id}{path}")
            assert (answer.status, answer.code) == (404, "unknown_balance")


def test_lists_come_in_pages(partner: Partner) -> None:
    made = [a_balance(1, currency=currency).id for currency in ("EUR", "USD", "XOF")]

    first = partner.get("/v1/balances?limit=2").json
    second = partner.get(f"/v1/balances?limit=2&after={first['next_cursor']}").json

    assert [row["id"] for page in (first, second) for row in page["data"]] == made[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)


def test_the_ledger_reads_transaction_by_transaction_newest_first(partner: Partner) -> None:
    balance = a_balance(10_000)
    payout = a_payout(amount_minor=2_000)
    say(payout, PayoutStatus.DELIVERED)

    shown = partner.get(f"/v1/balances/{balance.id}/entries").json

    assert [(entry["kind"], entry["payout_id"]) for entry in shown["data"]] == [
        ("settled", payout.id),
        ("resumed", payout.id),
        ("credited", None),
    ]
    assert shown["data"][0]["lines"] == [{"account": "held", "amount": "-20.00"}, {"account": "out", "amount": "20.00"}]
    assert shown["data"][2]["lines"] == [
        {"account": "available", "amount": "100.00"},
        {"account": "funding", "amount": "-100.00"},
    ]
    assert "a test needs it" not in str(shown)


def test_the_ledger_comes_in_pages_that_do_not_shift(partner: Partner) -> None:
    balance = a_balance(10_000)
    first = partner.get(f"/v1/balances/{balance.id}/entries?limit=1").json
    a_payout(amount_minor=1)
    kinds, after = [], ""

    while True:
        page = partner.get(f"/v1/balances/{balance.id}/entries?limit=1{after}").json
        kinds += [entry["kind"] for entry in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['next_cursor']}"

    assert kinds == ["resumed", "credited"]
    assert (first["has_more"], first["next_cursor"]) == (False, None)


@pytest.mark.parametrize(
    ("asked", "amount"), [({"amount": "25.00"}, "25.00"), ({"amount": None}, "85.00"), ({}, "85.00")]
)
def test_a_payout_of_a_balance_is_scheduled_for_its_next_business_day(
    partner: Partner, asked: dict[str, Any], amount: str
) -> None:
    balance = _paying(10_000, reserve_minor=1_500)

    with freeze_time("2026-04-02T09:15:00Z", real_asyncio=True):
        answer = _pay(partner, balance.id, description="April", **asked)

    assert answer.status == 201, answer.body
    assert (answer.json["status"], answer.json["amount"], answer.json["balance_id"]) == (
        "scheduled",
        amount,
        balance.id,
    )
    assert answer.json["scheduled_at"] == "2026-04-07T04:00:00Z"
    assert get_balance(balance.id).transfer_frequency == "never"
    assert answer.json == partner.get(f"/v1/payouts/{answer.json['id']}").json


def test_until_its_day_it_can_be_called_off_and_its_money_is_free_again(partner: Partner) -> None:
    balance = _paying()
    payout_id = _pay(partner, balance.id).json["id"]

    canceled = partner.ask("DELETE", f"/v1/payouts/{payout_id}")

    assert canceled.status in {200, 204}
    assert get_payout(payout_id).status == PayoutStatus.CANCELED
    assert get_balance(balance.id).available_minor == 10_000


@pytest.mark.parametrize(
    ("terms", "asked", "code"),
    [
        ({}, {"amount": "100.01"}, "insufficient_funds"),
        ({"status": "inactive"}, {}, "balance_inactive"),
        ({"payouts_blocked": "looked into"}, {}, "payouts_blocked"),
        ({"queued_refunds": 1}, {}, "refunds_queued"),
    ],
)
def test_what_forbids_one_is_told_at_once(
    partner: Partner, terms: dict[str, Any], asked: dict[str, Any], code: str
) -> None:
    answer = _pay(partner, _paying(10_000, **terms).id, **asked)

    assert (answer.status, answer.code) == (409, code)


def test_a_second_one_for_the_same_day_and_one_to_nowhere_are_refused(partner: Partner) -> None:
    balance, homeless = _paying(), a_balance(1, currency="XOF")
    _pay(partner, balance.id, amount="1.00")

    assert _pay(partner, balance.id, amount="1.00").code == "already_scheduled"
    assert _pay(partner, homeless.id).code == "destination_missing"


def test_somebody_elses_balance_is_unknown(partner: Partner) -> None:
    theirs = a_balance(10_000, organisation="Other")

    for asked in ({}, {"amount": "1.00"}):
        answer = _pay(partner, theirs.id, **asked)
        assert (answer.status, answer.code) == (404, "unknown_balance")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"balance_id": "bal_1", "amount": "1.234"}, ["#/amount"]),
        ({"balance_id": "bal_1", "amount": 5}, ["#/amount"]),
        ({"balance_id": "bal 1"}, ["#/balance_id"]),
        ({"balance_id": "bal_1", "currency": "EUR"}, ["#/currency"]),
        ({"balance_id": "bal_1", "quote_id": "quo_1"}, ["#/balance_id"]),
        ({"quote_id": "quo_1", "amount": "1"}, ["#/amount"]),
        ({}, ["#/currency", "#/amount", "#/customer", "#/mode"]),
        ([], ["#"]),
    ],
    ids=str,
)
def test_exactly_one_way_is_taken_and_what_is_wrong_is_pointed_at(
    partner: Partner, body: dict[str, Any], pointers: list[str]
) -> None:
    balance = a_balance(10_000)
    if isinstance(body, dict) and body.get("balance_id") == "bal_1":
        body = {**body, "balance_id": balance.id}

    answer = partner.post("/v1/payouts", body)

    assert (answer.status, answer.pointers) == (422, pointers)
