"""Quotes and balances as somebody asks who means no good: every bound, every switch, every id that is not theirs."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from sqlmodel import func, select

from models.balance import Balance, Frequency
from models.database import transaction
from models.integration import Integration
from models.payout import Payout
from models.quote import Quote
from models.switch import SwitchScope
from payouts.destinations import set_destination
from payouts.switches import lift, throw
from payouts.transfers import set_frequency
from payouts.treasury import By
from tests.concurrency import at_once
from tests.factories import a_balance, a_fee, a_rate, an_integration, get_balance
from tests.payouts.test_balances import WISH as BY_CARD
from tests.receiver.partners.partner import Answer, Partner
from tests.receiver.partners.test_quotes import WISH

APartner = Callable[..., Partner]

pytestmark = pytest.mark.usefixtures("database")

AMOUNTS: list[tuple[Any, int]] = [
    ("0", 422),
    ("0.00", 422),
    ("-1", 422),
    ("1.234", 422),
    ("1e5", 422),
    ("9" * 18, 422),  # more than we keep
    ("9" * 19, 422),
    ("9223372036854775808", 422),
    (" 1", 422),
    ("1\n", 422),
    ("٣", 422),
    ("NaN", 422),
    ("", 422),
    (1, 422),
    (1.5, 422),
    (True, 422),
    ([], 422),
    (b"1e400", 400),
    (b"1e-400", 422),
    (b"9223372036854775808", 422),
    (b"18446744073709551616", 400),
    (b"NaN", 400),
    (b"-Infinity", 400),
]


def _with_amount(body: dict[str, Any], amount: Any) -> Any:
    """Put an amount into a body; bytes as they are, which no JSON library would write."""
    import json

    if isinstance(amount, bytes):
        return json.dumps({**body, "amount": "@"}).encode().replace(b'"@"', amount)
    return {**body, "amount": amount}


@pytest.fixture
def paycore() -> Integration:
    integration = an_integration("paycore", slug="paycore-eu")
    a_fee(integration, "EUR", percent="0.5", fixed_minor=30)
    return integration


@pytest.fixture
def balance(paycore: Integration) -> Balance:
    """Return a balance with somewhere to pay to."""
    return _paying(paycore)


def _paying(integration: Integration, amount_minor: int = 10_000, **terms: Any) -> Balance:
    balance = a_balance(amount_minor, **terms)
    with transaction() as session:
        set_destination(session, balance.id, integration.slug, BY_CARD, By("test", "", datetime.now(UTC)))
    return get_balance(balance.id)


def _quoted(partner: Partner, **changes: Any) -> str:
    answer = partner.post("/v1/payouts/quote", {**WISH, **changes})
    assert answer.status == 200, answer.body
    return str(answer.json["quote_id"])


def _number_of(table: type[Payout | Quote]) -> int:
    with transaction() as session:
        return session.exec(select(func.count()).select_from(table)).one()


def _thrown(scope: SwitchScope, target: str | None) -> str:
    with transaction() as session:
        return throw(session, scope, target, reason="a test", by="test", until=None, now=datetime.now(UTC)).switch.id


def _lifted(switch_id: str) -> None:
    with transaction() as session:
        lift(session, switch_id, by="test", now=datetime.now(UTC))


# --- amounts


@pytest.mark.parametrize(("amount", "status"), AMOUNTS, ids=str)
def test_an_amount_that_is_none_is_refused_as_such_by_a_quote(
    partner: Partner, paycore: Integration, amount: Any, status: int
) -> None:
    answer = partner.post("/v1/payouts/quote", _with_amount(WISH, amount))

    assert answer.status == status, answer.body
    assert answer.code == ("malformed_json" if status == 400 else "invalid_request")
    assert _number_of(Quote) == 0


@pytest.mark.parametrize(("amount", "status"), AMOUNTS, ids=str)
def test_an_amount_that_is_none_is_refused_as_such_by_a_balance(
    partner: Partner, balance: Balance, amount: Any, status: int
) -> None:
    answer = partner.post("/v1/payouts", _with_amount({"balance_id": balance.id}, amount))

    assert answer.status == status, answer.body
    assert answer.code == ("malformed_json" if status == 400 else "invalid_request")
    assert _number_of(Payout) == 0


def test_what_would_arrive_is_an_amount_too(partner: Partner, paycore: Integration) -> None:
    """The most that can be sent, at a rate at which no column holds what it buys."""
    for rate in ("1000", "99999999999999999999"):
        a_rate("EUR", "XOF", rate)

        answer = partner.post("/v1/payouts/quote", {**WISH, "amount": "9" * 16, "currency": "XOF"})

        assert (answer.status, answer.code) == (409, "no_route")
        assert "amount_too_large" in answer.json["detail"]


@pytest.mark.parametrize("code", ["ZZZ", "eur", "EURO", "XXX", "", 978, None])
def test_an_asset_that_nobody_knows_is_pointed_at(partner: Partner, paycore: Integration, code: Any) -> None:
    answer = partner.post("/v1/payouts/quote", {**WISH, "asset": code})

    assert (answer.status, answer.pointers[0]) == (422, "#/asset")


@pytest.mark.parametrize(
    "details",
    [
        {"fields": 5},
        {"fields": []},
        {"fields": {"iban": 5, "card_number": None}},
        {"fields": {"iban": "\x00" * 20}},
        {"fields": {"iban": "\u202e\x1b[31m" * 3}},
        {"fields": {"a": [[[[[[[[1]]]]]]]]}, "service": {"x": 1}},
        {"external_ref": 1, "destination": 2, "network_hint": 3},
        {"metadata": 1, "provider": [], "country": {}, "state": 1e300},
        {"": "", "__class__": "x", "network_hint": None},
    ],
    ids=str,
)
def test_details_of_any_kind_are_no_trouble_of_ours(partner: Partner, paycore: Integration, details: Any) -> None:
    for gateway in ("zopay", "fedapay", "bridgerpay", "mollie"):
        a_fee(an_integration(gateway, slug=gateway), "EUR")

    answer = partner.post("/v1/payouts/quote", {**WISH, "details": details})
    if answer.status == 200:
        answer = partner.post("/v1/payouts", {"quote_id": answer.json["quote_id"]})

    assert answer.status in {201, 409, 422}, answer.body


# --- the network


def test_a_network_among_the_details_is_never_priced_as_another(partner: Partner) -> None:
    """Sent by another network than its address is of, money is gone; by a dearer one, it is ours that is."""
    zopay = an_integration("zopay", slug="zopay-main")
    a_fee(zopay, "USDT", network="tron", fixed_minor=1_000_000)
    a_fee(an_integration("zopay", slug="one-way"), "USDT")
    wish = {"asset": "USDT", "amount": "100", "destination": "0x" + "f" * 40}

    hinted = partner.post("/v1/payouts/quote", {**wish, "details": {"external_ref": "u", "network_hint": "ethereum"}})
    meant = partner.post("/v1/payouts/quote", {**wish, "details": {"external_ref": "u", "network_hint": "tron"}})

    assert (hinted.status, hinted.code) == (409, "no_route")
    assert (meant.status, meant.json["route"]["network"]) == (200, "tron")


# --- whose it is


def test_what_is_somebody_elses_is_404_wherever_it_is_named(a_partner: APartner, paycore: Integration) -> None:
    ours, theirs, tested = a_partner(), a_partner("Other"), a_partner(test_mode=True)
    balance, quote_id = _paying(paycore), _quoted(ours)

    for stranger in (theirs, tested):
        answers = [
            stranger.get(f"/v1/balances/{balance.id}"),
            stranger.get(f"/v1/balances/{balance.id}/entries"),
            stranger.post("/v1/payouts", {"balance_id": balance.id}),
            stranger.post("/v1/payouts", {"balance_id": balance.id, "amount": "1.00"}),
            stranger.post("/v1/payouts", {"quote_id": quote_id}),
        ]
        assert [answer.status for answer in answers] == [404] * 5
        assert stranger.get("/v1/balances").json["data"] == []
    assert theirs.post("/v1/payouts", {"quote_id": quote_id}).code == "quote_foreign"
    assert tested.post("/v1/payouts", {"quote_id": quote_id}).code == "quote_unknown"
    assert _number_of(Payout) == 0
    assert ours.post("/v1/payouts", {"quote_id": quote_id}).status == 201


def test_a_strangers_request_waits_for_no_lock_and_is_told_of_no_command(a_partner: APartner, balance: Balance) -> None:
    with transaction() as session:
        session.get_one(Balance, balance.id, with_for_update=True)

        answer = a_partner("Other").post("/v1/payouts", {"balance_id": balance.id})

    assert (answer.status, answer.code) == (404, "unknown_balance")
    assert "ratchet" not in answer.json["detail"]


# --- what forbids a payout of a balance


@pytest.mark.parametrize(
    ("terms", "asked", "code"),
    [
        ({}, {"amount": "100.01"}, "insufficient_funds"),
        ({"reserve_minor": 10_000}, {}, "insufficient_funds"),
        ({"reserve_minor": 10_000}, {"amount": None}, "insufficient_funds"),
        ({"status": "inactive"}, {}, "balance_inactive"),
        ({"payouts_blocked": "looked into"}, {}, "payouts_blocked"),
        ({"queued_refunds": 1}, {}, "refunds_queued"),
    ],
)
def test_each_thing_that_forbids_one_has_its_code_and_changes_nothing(
    partner: Partner, paycore: Integration, terms: dict[str, Any], asked: dict[str, Any], code: str
) -> None:
    balance = _paying(paycore, **terms)
    with transaction() as session:
        set_frequency(session, balance.id, Frequency.DAILY, By("test", "", datetime.now(UTC)))

    answer = partner.post("/v1/payouts", {"balance_id": balance.id, **asked})

    assert (answer.status, answer.code) == (409, code)
    assert get_balance(balance.id).transfer_frequency == "daily"
    assert get_balance(balance.id).held_minor == 0


def test_another_balance_below_its_threshold_forbids_it_but_not_one_of_the_other_mode(
    a_partner: APartner, balance: Balance
) -> None:
    from payouts.treasury import adjust

    def sink(debtor: Balance) -> None:
        with transaction() as session:
            adjust(session, debtor.id, -500, By("test", "a chargeback", datetime.now(UTC)))

    sink(a_balance(currency="XOF", test_mode=True))
    sink(a_balance(currency="USD", negative_threshold_minor=500))
    allowed = a_partner().post("/v1/payouts", {"balance_id": balance.id, "amount": "1.00"})
    a_partner().ask("DELETE", f"/v1/payouts/{allowed.json['id']}")
    sink(a_balance(currency="XOF"))
    forbidden = a_partner().post("/v1/payouts", {"balance_id": balance.id, "amount": "1.00"})

    assert allowed.status == 201
    assert (forbidden.status, forbidden.code) == (409, "balance_below_threshold")


def test_a_destination_that_its_gateway_cannot_be_told_any_more_is_invalid(
    partner: Partner, paycore: Integration
) -> None:
    balance = _paying(paycore)
    for spoilt in (b"not sealed", None):
        with transaction() as session:
            session.get_one(Balance, balance.id).destination = spoilt

        answer = partner.post("/v1/payouts", {"balance_id": balance.id})

        assert (answer.status, answer.code) == (409, "destination_invalid" if spoilt else "destination_missing")
        assert "ratchet" not in answer.json["detail"]


def test_an_account_that_has_become_a_test_account_moves_no_live_money(partner: Partner, balance: Balance) -> None:
    with transaction() as session:
        integration = session.exec(select(Integration)).one()
        integration.test_mode = True

    answer = partner.post("/v1/payouts", {"balance_id": balance.id})

    assert (answer.status, answer.code) == (409, "mode_differs")


def test_of_many_at_once_one_is_scheduled(partner: Partner, balance: Balance) -> None:
    ask = partial(partner.post, "/v1/payouts", {"balance_id": balance.id, "amount": "1.00"})

    answers: list[Answer] = at_once(*[ask] * 10)

    assert sorted(answer.status for answer in answers) == [201] + [409] * 9
    assert {answer.code for answer in answers if answer.status == 409} == {"already_scheduled"}
    assert get_balance(balance.id).held_minor == 100


def test_sent_again_under_its_key_it_is_the_same_payout(partner: Partner, balance: Balance) -> None:
    ask = partial(partner.post, "/v1/payouts", {"balance_id": balance.id, "amount": None}, idempotency_key="k")

    first, again = ask(), ask()
    other = partner.post("/v1/payouts", {"balance_id": balance.id}, idempotency_key="k")

    assert (first.status, again.body) == (201, first.body)
    assert (other.status, other.code) == (409, "idempotency_conflict")
    assert _number_of(Payout) == 1


# --- kill switches


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        (SwitchScope.EVERYTHING, None),
        (SwitchScope.GATEWAY, "paycore"),
        (SwitchScope.INTEGRATION, "paycore-eu"),
        (SwitchScope.CURRENCY, "EUR"),
        (SwitchScope.PARTNER, "Acme"),
    ],
)
def test_a_switch_stops_quotes_and_balances_and_what_was_quoted_before_stays_unused(
    partner: Partner, balance: Balance, scope: SwitchScope, target: str | None
) -> None:
    quote_id = _quoted(partner)
    switch_id = _thrown(scope, target)

    new = partner.post("/v1/payouts/quote", WISH)
    stopped = [partner.post("/v1/payouts", body) for body in ({"quote_id": quote_id}, {"balance_id": balance.id})]

    assert (new.status, new.code) == (409, "no_route")
    assert "payouts_disabled" in new.json["detail"]
    assert [(answer.status, answer.code) for answer in stopped] == [(409, "payouts_disabled")] * 2
    assert get_balance(balance.id).held_minor == 0
    _lifted(switch_id)
    assert partner.post("/v1/payouts", {"quote_id": quote_id}).status == 201


# --- test mode


def test_in_test_mode_a_quote_that_was_refused_once_still_stands_for_its_one_payout(a_partner: APartner) -> None:
    account = an_integration("paycore", test_mode=True)
    a_fee(account, "EUR")
    partner = a_partner(test_mode=True)
    quote_id = _quoted(partner)

    switch_id = _thrown(SwitchScope.EVERYTHING, None)
    refused = partner.post("/v1/payouts", {"quote_id": quote_id})
    _lifted(switch_id)
    made = [
        partner.post("/v1/payouts", {"quote_id": quote_id, "reference": reference}) for reference in ("a", "a", "b")
    ]

    assert refused.code == "payouts_disabled"
    assert {answer.status for answer in made} == {201}
    assert len({answer.json["id"] for answer in made}) == 1
    assert _number_of(Payout) == 1
