"""Quotes over HTTP: priced, used once, refused with a code each."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from freezegun import freeze_time
from sqlmodel import func, select

from models.database import transaction
from models.integration import Integration
from models.payout import Payout
from tests.concurrency import at_once
from tests.factories import a_balance, a_fee, a_rate, an_integration, get_balance, get_payout
from tests.receiver.partners.partner import Answer, Partner

APartner = Callable[..., Partner]

WISH: dict[str, Any] = {
    "asset": "EUR",
    "amount": "100.00",
    "destination": "DE02120300000000202051",
    "mode": "payment_card",
    "details": {"fields": {"iban": "DE02120300000000202051"}},
}


@pytest.fixture
def paycore(database: None) -> Integration:
    integration = an_integration("paycore", slug="paycore-eu")
    a_fee(integration, "EUR", percent="0.5", fixed_minor=30, estimated_seconds=90)
    return integration


def _quoted(partner: Partner, **changes: Any) -> Any:
    answer = partner.post("/v1/payouts/quote", {**WISH, **changes})
    assert answer.status == 200, answer.body
    return answer.json


def _pay(partner: Partner, quote_id: str, **more: Any) -> Answer:
    return partner.post("/v1/payouts", {"quote_id": quote_id, **more})


def test_a_quote_tells_everything_that_was_asked_for(partner: Partner, paycore: Integration) -> None:
    with freeze_time("2026-05-12T09:15:00Z", real_asyncio=True):
        quoted = _quoted(partner)

    assert quoted.pop("quote_id").startswith("quo_")
    assert quoted == {
        "expires_at": "2026-05-12T09:16:00Z",
        "asset": "EUR",
        "user_sends": "100.00",
        "currency": "EUR",
        "recipient_gets": "99.20",
        "rate": None,
        "fees": [{"code": "service", "amount": "0.50"}, {"code": "network", "amount": "0.30"}],
        "fee_total": "0.80",
        "route": {"account": "paycore-eu", "gateway": "paycore", "network": None, "estimated_seconds": 90},
        "destination": "•••• 2051",
        "recommendation": None,
        "insufficient_funds": None,
        "test_mode": False,
    }


def test_a_dearer_hint_is_answered_with_a_recommendation_and_an_empty_balance_with_what_is_missing(
    partner: Partner, paycore: Integration
) -> None:
    a_balance(1_000)
    a_fee(an_integration("paycore", slug="dear"), "EUR", fixed_minor=500)

    quoted = _quoted(partner, gateway="dear")

    assert quoted["recommendation"] == {
        "message": "paycore-eu costs 4.20 EUR less",
        "alternative_route": {
            "route": {"account": "paycore-eu", "gateway": "paycore", "network": None, "estimated_seconds": 90},
            "fee_total": "0.80",
            "savings": "4.20",
        },
    }
    assert quoted["insufficient_funds"] == {"needed": "90.00", "available": "10.00", "asset": "EUR"}


def test_a_beneficiary_is_enough_where_the_gateway_pays_to_a_person(partner: Partner, database: None) -> None:
    a_rate("EUR", "XOF", "655.957")
    a_fee(an_integration("fedapay"), "EUR")
    person = {
        "first_name": "Ada",
        "last_name": "Mensah",
        "email": "ada@example.com",
        "phone": {"number": "+229 01 66 00 00 01", "country": "BJ"},
    }
    wish = {"asset": "EUR", "amount": "10", "currency": "XOF", "mode": "mtn", "beneficiary": person}

    answer = partner.post("/v1/payouts/quote", wish)

    assert answer.status == 200, answer.body
    assert (answer.json["recipient_gets"], answer.json["rate"]) == ("6559", "655.957")
    assert "0166000001" not in answer.body.decode()


def test_a_quote_becomes_the_payout_that_it_promised(partner: Partner, paycore: Integration) -> None:
    balance = a_balance(20_000)
    quote_id = _quoted(partner)["quote_id"]

    answer = _pay(partner, quote_id, reference="invoice 1", metadata={"a": "b"})

    assert answer.status == 201, answer.body
    assert answer.headers["location"] == f"/v1/payouts/{answer.json['id']}"
    shown = {name: answer.json[name] for name in ("amount", "status", "reference", "metadata", "balance_id", "quote")}
    assert shown == {
        "amount": "99.20",
        "status": "pending",
        "reference": "invoice 1",
        "metadata": {"a": "b"},
        "balance_id": balance.id,
        "quote": {
            "quote_id": quote_id,
            "asset": "EUR",
            "user_sends": "100.00",
            "fee_total": "0.80",
            "recipient_gets": "99.20",
            "network": None,
            "estimated_seconds": 90,
        },
    }
    assert answer.json["estimated_delivery_at"] is not None
    assert partner.get(answer.headers["location"]).json == answer.json
    assert get_balance(balance.id).held_minor == 10_000


def test_of_a_hundred_calls_at_once_one_gets_201_and_the_others_quote_already_used(
    partner: Partner, paycore: Integration
) -> None:
    quote_id = _quoted(partner)["quote_id"]

    answers = at_once(*[partial(_pay, partner, quote_id)] * 100)

    assert sorted({answer.status for answer in answers}) == [201, 409]
    assert [answer.status for answer in answers].count(201) == 1
    assert {answer.code for answer in answers if answer.status == 409} == {"quote_already_used"}
    with transaction() as session:
        assert session.exec(select(func.count()).select_from(Payout)).one() == 1


def test_the_same_key_gets_the_same_payout_where_another_gets_a_refusal(partner: Partner, paycore: Integration) -> None:
    quote_id = _quoted(partner)["quote_id"]

    first = partner.post("/v1/payouts", {"quote_id": quote_id}, idempotency_key="k-1")
    replayed = partner.post("/v1/payouts", {"quote_id": quote_id}, idempotency_key="k-1")
    other = partner.post("/v1/payouts", {"quote_id": quote_id}, idempotency_key="k-2")

    assert (first.status, replayed.status, replayed.body) == (201, 201, first.body)
    assert (other.status, other.code) == (409, "quote_already_used")


def test_expired_unknown_and_foreign_quotes_each_have_their_code(a_partner: APartner, paycore: Integration) -> None:
    ours, theirs, tested = a_partner(), a_partner("Other"), a_partner(test_mode=True)
    with freeze_time("2026-05-12T09:15:00Z", real_asyncio=True):
        old = _quoted(ours)["quote_id"]
    fresh = _quoted(ours)["quote_id"]

    refused = {
        "expired": _pay(ours, old),
        "unknown": _pay(ours, "quo_019a3c4e5f607182a1b2c3d4e5f6"),
        "foreign": _pay(theirs, fresh),
        "of the other mode": _pay(tested, fresh),
    }

    assert {name: (answer.status, answer.code) for name, answer in refused.items()} == {
        "expired": (409, "quote_expired"),
        "unknown": (404, "quote_unknown"),
        "foreign": (404, "quote_foreign"),
        "of the other mode": (404, "quote_unknown"),
    }


def test_in_test_mode_the_same_request_gives_the_same_payout(a_partner: APartner, database: None) -> None:
    a_fee(an_integration("paycore", test_mode=True), "EUR")
    partner = a_partner(test_mode=True)
    quote_id = _quoted(partner)["quote_id"]

    answers = at_once(*[partial(_pay, partner, quote_id)] * 10)

    assert {answer.status for answer in answers} == {201}
    (payout_id,) = {answer.json["id"] for answer in answers}
    assert get_payout(payout_id).test_mode


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"amount": "1.234"}, ["#/amount"]),
        ({"amount": "0"}, ["#/amount"]),
        ({"amount": 5}, ["#/amount"]),
        ({"asset": "ZZZ"}, ["#/asset"]),
        ({"currency": "ZZZ"}, ["#/currency"]),
        ({"destination": "two words"}, ["#/destination"]),
        ({"destination": "x" * 129}, ["#/destination"]),
        ({"destination": None}, ["#"]),
        ({"network": "TRON"}, ["#/network"]),
        ({"surprise": 1}, ["#/surprise"]),
    ],
    ids=str,
)
def test_what_is_wrong_is_pointed_at(
    partner: Partner, paycore: Integration, changes: dict[str, Any], pointers: list[str]
) -> None:
    answer = partner.post("/v1/payouts/quote", {**WISH, **changes})

    assert (answer.status, answer.pointers) == (422, pointers)
    assert "DE02120300000000202051" not in answer.body.decode()


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"asset": "USD"}, "no_route"), ({"currency": "USD"}, "rate_missing"), ({"details": {}}, "no_route")],
)
def test_what_nobody_carries_is_refused(
    partner: Partner, paycore: Integration, changes: dict[str, Any], code: str
) -> None:
    answer = partner.post("/v1/payouts/quote", {**WISH, **changes})

    assert (answer.status, answer.code) == (409, code)


def test_a_quote_needs_the_scope_of_those_who_pay(a_partner: APartner, paycore: Integration) -> None:
    from models.api_key import Scope

    answer = a_partner(scopes=[Scope.PAYOUTS_READ]).post("/v1/payouts/quote", WISH)

    assert (answer.status, answer.code) == (403, "missing_scope")
