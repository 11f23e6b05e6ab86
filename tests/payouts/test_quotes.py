"""Quotes: what they promise, which route they choose, and that each pays once."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlmodel import col, func, select

from connectors._base import Wish
from models.database import transaction
from models.inbox import InboxState
from models.integration import Integration
from models.lifecycle import PayoutStatus
from models.organisation import Organisation
from models.payout import Payout
from models.quote import Quote
from models.sealed import unseal
from payouts.create import Created
from payouts.estimate import expected_at
from payouts.prices import rate_for
from payouts.quotes import Quoted, Shortfall, Use, forget_quotes, quote, use_quote
from payouts.refused import Refused
from payouts.routes import ENOUGH_SEEN, Errand
from payouts.treasury import By, credit
from tests.concurrency import LIMIT_SECONDS, at_once, somebody_waits_for_a_lock, wait_until
from tests.factories import (
    a_balance,
    a_fee,
    a_payout,
    a_rate,
    an_inbox_event,
    an_integration,
    an_organisation,
    get_balance,
    get_payout,
    get_sums,
    say,
)

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("database")

WISH = Wish(
    mode="payment_card",
    first_name="Ada",
    last_name="Mensah",
    email="ada@example.com",
    phone="+22901660000",
    phone_national="01660000",
    country="BJ",
    details={"fields": {"iban": "DE02120300000000202051"}, "destination": "TXhqLmQ3b1", "external_ref": "user-1"},
)


def _quote(
    send_minor: int = 10_000,
    asset: str = "EUR",
    currency: str | None = None,
    *,
    test_mode: bool = False,
    now: datetime = NOW,
    wish: Wish = WISH,
    **hints: str,
) -> Quoted:
    organisation = an_organisation()
    with transaction() as session:
        errand = Errand(
            organisation=organisation,
            test_mode=test_mode,
            asset=asset,
            send_minor=send_minor,
            currency=currency or asset,
            rate=rate_for(session, asset, currency or asset, now),
            wish=wish,
        )
        return quote(session, errand, now, **hints)


def _use(
    quote_id: str,
    organisation: Organisation | None = None,
    *,
    test_mode: bool = False,
    now: datetime = NOW,
    **told: Any,
) -> Created:
    use = Use(quote_id=quote_id, organisation=organisation or an_organisation(), test_mode=test_mode, **told)
    with transaction() as session:
        return use_quote(session, use, now, actor="key:test")


def _refusal(*arguments: Any, **more: Any) -> str:
    with pytest.raises(Refused) as refused:
        _use(*arguments, **more)
    return refused.value.code


def _payouts() -> Sequence[Payout]:
    with transaction() as session:
        return session.exec(select(Payout)).all()


def _priced(connector: str = "paycore", asset: str = "EUR", **fee: Any) -> Integration:
    columns = {name: fee.pop(name) for name in ("slug", "test_mode", "webhook_secrets", "is_active") if name in fee}
    integration = an_integration(connector, **columns)
    a_fee(integration, asset, **fee)
    return integration


# --- what is promised


def test_a_quote_says_what_is_sent_what_arrives_and_what_it_costs_and_holds_for_a_minute() -> None:
    _priced(slug="main", percent="0.5", fixed_minor=30, estimated_seconds=90)

    row = _quote(10_000).quote

    assert row.id.startswith("quo_")
    assert (row.asset, row.send_minor, row.currency, row.get_minor, row.fee_minor) == ("EUR", 10_000, "EUR", 9_920, 80)
    assert row.fees == [{"code": "service", "amount_minor": 50}, {"code": "network", "amount_minor": 30}]
    assert (row.created_at, row.expires_at) == (NOW, NOW + timedelta(seconds=60))
    assert (row.estimated_seconds, row.used_at, row.payout_id) == (90, None, None)


def test_between_currencies_the_rate_that_counts_now_is_kept_in_the_quote() -> None:
    a_rate("EUR", "XOF", "655.957")
    _priced(percent="1")

    row = _quote(10_000, "EUR", "XOF").quote

    assert (row.currency, row.get_minor, row.rate) == ("XOF", 64_939, Decimal("655.957"))


def test_where_it_goes_is_sealed_and_only_its_end_may_be_shown() -> None:
    _priced()

    row = _quote().quote

    assert b"DE02" not in row.details
    assert unseal(row.details)["fields"] == {"iban": "DE02120300000000202051"}
    assert row.destination_label == "•••• 2051"


def test_an_organisation_that_pays_in_beforehand_is_told_what_is_missing_in_a_quote_all_the_same() -> None:
    a_balance(4_000, reserve_minor=1_000)
    _priced()

    assert _quote(3_000).shortfall is None
    assert _quote(10_000).shortfall == Shortfall(needed_minor=7_000, available_minor=3_000)


def test_one_that_has_no_balance_in_the_asset_misses_all_of_it() -> None:
    a_balance(4_000, currency="USD")
    _priced()

    assert _quote(3_000).shortfall == Shortfall(needed_minor=3_000, available_minor=0)


def test_one_without_any_balance_misses_nothing() -> None:
    _priced()

    assert _quote(3_000).shortfall is None


# --- which route


def test_the_route_by_which_most_arrives_is_taken() -> None:
    _priced(slug="dear", fixed_minor=500)
    _priced(slug="cheap", fixed_minor=100)

    quoted = _quote()

    assert (quoted.route.integration, quoted.better) == ("cheap", None)


def test_of_equally_cheap_routes_the_sooner_one_is_taken() -> None:
    _priced(slug="slow", estimated_seconds=900)
    _priced(slug="soon", estimated_seconds=30)

    assert _quote().route.integration == "soon"


@pytest.mark.parametrize("hint", ["dear", "bridgerpay"])
def test_a_hint_is_followed_and_what_would_have_been_better_is_recommended(hint: str) -> None:
    both = {**WISH.details, "metadata": {"iban": "DE02120300000000202051"}, "provider": "psp", "country": "DE"}
    _priced("bridgerpay", slug="dear", fixed_minor=500)
    _priced("paycore", slug="cheap", fixed_minor=100)

    quoted = _quote(wish=replace(WISH, details=both), gateway=hint)

    assert quoted.route.integration == "dear"
    assert quoted.better is not None
    assert (quoted.better.route.integration, quoted.better.savings_minor) == ("cheap", 400)


def test_a_network_hint_chooses_among_networks_and_reaches_the_gateway() -> None:
    integration = an_integration("zopay")
    a_fee(integration, "USDT", network="tron", fixed_minor=1_000_000)
    a_fee(integration, "USDT", network="ethereum", fixed_minor=9_000_000)

    quoted = _quote(100_000_000, "USDT", network="ethereum")

    assert (quoted.quote.network, quoted.quote.get_minor) == ("ethereum", 91_000_000)
    assert unseal(quoted.quote.details)["network_hint"] == "ethereum"
    assert quoted.better is not None
    assert (quoted.better.route.network, quoted.better.savings_minor) == ("tron", 8_000_000)


def _switch_off(slug: str, **columns: Any) -> None:
    with transaction() as session:
        row = session.exec(select(Integration).where(Integration.slug == slug)).one()
        for name, value in columns.items():
            setattr(row, name, value)


@pytest.mark.parametrize(
    "columns",
    [
        {"is_active": False},
        {"payouts_enabled": False},
        {"has_webhook_secret": False},
        {"test_mode": True},
        {"currencies": ["USD"]},
    ],
    ids=str,
)
def test_a_route_that_a_guard_refuses_is_never_offered(columns: dict[str, Any]) -> None:
    _priced(slug="unsafe")
    _switch_off("unsafe", **columns)

    with pytest.raises(Refused) as refused:
        _quote()
    assert refused.value.code == "no_route"

    _priced(slug="safe", fixed_minor=5_000)
    assert _quote().route.integration == "safe"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"gateway": "nobody"}, "no_route"),
        ({"network": "tron"}, "no_route"),
        ({"asset": "USD"}, "no_route"),
        ({"send_minor": 30}, "no_route"),
        ({"currency": "USD"}, "rate_missing"),
        ({"wish": replace(WISH, details={})}, "no_route"),
    ],
    ids=["gateway", "network", "no price", "eaten up by the fee", "no rate", "not enough told"],
)
def test_what_nobody_carries_is_refused(asked: dict[str, Any], code: str) -> None:
    _priced(slug="main", fixed_minor=30)

    with pytest.raises(Refused) as refused:
        _quote(**asked)

    assert refused.value.code == code
    assert "main" not in str(refused.value)


def test_what_deliveries_took_of_late_replaces_the_estimate_once_there_are_enough() -> None:
    integration = _priced(slug="main", estimated_seconds=900)
    for _ in range(ENOUGH_SEEN - 1):
        _delivered_in(integration, 40)
    assert _quote().route.estimated_seconds == 900

    _delivered_in(integration, 40)

    assert _quote().route.estimated_seconds == 40


def _delivered_in(integration: Integration, seconds: int) -> None:
    payout = a_payout(integration)
    say(payout, PayoutStatus.DELIVERED)
    with transaction() as session:
        row = session.get_one(Payout, payout.id)
        row.submitted_at = row.advanced_at - timedelta(seconds=seconds)


# --- what is made of it


def test_the_payout_is_what_was_quoted_and_its_cost_is_held() -> None:
    balance = a_balance(20_000)
    a_rate("EUR", "XOF", "655.957")
    integration = _priced(percent="1", estimated_seconds=90)
    row = _quote(10_000, "EUR", "XOF").quote

    created = _use(row.id, description="May", reference="invoice 1", metadata={"a": "b"})

    payout = get_payout(created.id)
    assert (payout.amount_minor, payout.currency, payout.integration_id) == (64_939, "XOF", integration.id)
    assert (payout.balance_id, payout.debit_minor, payout.fee_minor) == (balance.id, 10_000, 100)
    assert (payout.quote_id, payout.mode, payout.destination_label) == (row.id, "payment_card", "•••• 2051")
    assert (payout.description, payout.partner_reference, payout.partner_metadata) == ("May", "invoice 1", {"a": "b"})
    assert expected_at(payout) == NOW + timedelta(seconds=90)
    assert payout.details is not None
    assert unseal(payout.details) == unseal(row.details)
    assert get_sums(balance.id) == {"funding": -20_000, "available": 10_000, "held": 10_000}

    say(payout, PayoutStatus.DELIVERED)
    assert get_sums(balance.id) == {"funding": -20_000, "available": 10_000, "out": 9_900, "fees": 100}


def test_a_used_quote_names_its_payout_and_is_refused_from_then_on() -> None:
    _priced()
    row = _quote().quote

    created = _use(row.id)

    assert _refusal(row.id) == "quote_already_used"
    assert _refusal(row.id, now=NOW + timedelta(hours=1)) == "quote_already_used"
    with transaction() as session:
        used = session.get_one(Quote, row.id)
    assert (used.used_at, used.payout_id) == (NOW, created.id)


def test_a_quote_is_good_until_its_minute_is_over() -> None:
    _priced()
    first, second = _quote().quote, _quote().quote

    _use(first.id, now=NOW + timedelta(seconds=59.999))

    assert _refusal(second.id, now=NOW + timedelta(seconds=60)) == "quote_expired"


def test_unknown_and_foreign_quotes_each_have_their_code() -> None:
    _priced()
    row = _quote().quote

    assert _refusal("quo_000000000000") == "quote_unknown"
    assert _refusal(row.id, an_organisation("Other")) == "quote_foreign"
    assert _refusal(row.id, test_mode=True) == "quote_unknown"
    assert _payouts() == []


def test_a_refused_payout_leaves_its_quote_unused() -> None:
    balance = a_balance(9_999)
    _priced()
    row = _quote(10_000).quote
    assert _refusal(row.id) == "insufficient_funds"

    with transaction() as session:
        credit(session, balance.id, 1, By("test", "a cent", NOW))

    _use(row.id)
    assert get_balance(balance.id).available_minor == 0


def test_a_guard_that_closed_since_the_quote_refuses_the_payout() -> None:
    _priced(slug="main")
    row = _quote().quote
    _switch_off("main", has_webhook_secret=False)

    assert _refusal(row.id) == "webhook_secret_missing"
    assert _payouts() == []


def test_of_a_hundred_that_use_one_quote_at_once_exactly_one_gets_a_payout() -> None:
    balance = a_balance(1_000_000)
    _priced()
    row = _quote(10_000).quote
    organisation = an_organisation()

    def attempt() -> str:
        try:
            return _use(row.id, organisation).id
        except Refused as refused:
            return refused.code

    outcomes = at_once(*[attempt] * 100)

    assert outcomes.count("quote_already_used") == 99
    (payout,) = _payouts()
    assert payout.id in outcomes
    assert get_balance(balance.id).held_minor == 10_000


def test_if_the_first_of_two_comes_to_nothing_the_second_has_the_quote() -> None:
    _priced()
    row = _quote().quote
    use = Use(quote_id=row.id, organisation=an_organisation(), test_mode=False)
    has_it = threading.Event()

    def first() -> str:
        with transaction() as session:
            use_quote(session, use, NOW, actor="key:test")
            has_it.set()
            wait_until(somebody_waits_for_a_lock)
            session.rollback()
        return "nothing"

    def second() -> str:
        assert has_it.wait(LIMIT_SECONDS)
        return _use(row.id, use.organisation).id

    _, created = at_once(first, second)

    assert [payout.id for payout in _payouts()] == [created]


# --- test mode


def test_in_test_mode_the_same_request_gives_the_same_payout_and_uses_nothing_up() -> None:
    _priced(slug="sandbox", test_mode=True)
    row = _quote(test_mode=True).quote

    first, second = _use(row.id, test_mode=True), _use(row.id, test_mode=True)

    assert first.id == second.id
    assert (first.is_due, second.is_due) == (True, False)
    assert len(_payouts()) == 1
    assert get_payout(first.id).test_mode
    assert _use(row.id, test_mode=True, now=NOW + timedelta(days=3)).id == first.id


def test_a_test_payouts_id_is_made_of_organisation_and_quote_and_sorts_by_time() -> None:
    _priced(test_mode=True)
    row, other = _quote(test_mode=True).quote, _quote(test_mode=True).quote

    ids = [_use(found.id, test_mode=True).id for found in (row, other)]

    assert ids[0] != ids[1]
    assert len(ids[0]) == len(a_payout().id)
    assert ids[0][4:16] == row.id[4:16]


def test_events_that_waited_for_a_test_payout_are_released_because_its_id_is_known_beforehand() -> None:
    integration = _priced(test_mode=True)
    row = _quote(test_mode=True).quote
    with transaction() as session:
        use = Use(quote_id=row.id, organisation=an_organisation(), test_mode=True)
        foreseen = use_quote(session, use, NOW, actor="key:test").id
        session.rollback()
    event = an_inbox_event(integration, b"{}", state=InboxState.UNMATCHED, order_key=foreseen)

    created = _use(row.id, test_mode=True)

    assert (created.id, created.released) == (foreseen, [event])


def test_a_test_quote_runs_out_too_when_nothing_was_made_of_it() -> None:
    _priced(test_mode=True)
    row = _quote(test_mode=True).quote

    assert _refusal(row.id, test_mode=True, now=NOW + timedelta(seconds=60)) == "quote_expired"


def test_a_hundred_at_once_in_test_mode_are_all_told_of_the_one_payout() -> None:
    _priced(test_mode=True)
    row = _quote(test_mode=True).quote
    organisation = an_organisation()

    outcomes = at_once(*[partial(_use, row.id, organisation, test_mode=True)] * 100)

    assert {created.id for created in outcomes} == {payout.id for payout in _payouts()}
    assert len(_payouts()) == 1
    assert [created.is_due for created in outcomes].count(True) == 1


# --- letting go


def test_quotes_that_ran_out_unused_are_forgotten_and_used_ones_are_kept() -> None:
    _priced()
    _priced(test_mode=True)
    used, tested, unused = _quote().quote, _quote(test_mode=True).quote, _quote().quote
    _use(used.id)
    _use(tested.id, test_mode=True)
    fresh = _quote(now=NOW + timedelta(days=1)).quote

    with transaction() as session:
        gone = forget_quotes(session, NOW + timedelta(days=1, minutes=1, seconds=1), most=10)

    assert gone == 1
    with transaction() as session:
        left = session.exec(select(Quote.id).order_by(col(Quote.id))).all()
        assert session.exec(select(func.count(col(Quote.id)))).one() == 3
    assert set(left) == {used.id, tested.id, fresh.id}
    assert unused.id not in left
