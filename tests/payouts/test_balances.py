"""Payouts of a balance: the next business day, what forbids one, and what one sets."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import select

from connectors._base import Wish
from models.balance import Balance, Frequency
from models.database import transaction
from models.integration import Integration
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source, SubmissionState
from payouts.balances import BalancePayout, create_balance_payout
from payouts.create import Created, NewPayout, create
from payouts.destinations import set_destination
from payouts.refused import Refused
from payouts.submit import begin
from payouts.treasury import By, charge, set_terms
from tests.concurrency import at_once
from tests.factories import (
    a_balance,
    an_integration,
    an_organisation,
    get_balance,
    get_events,
    get_payout,
    get_sums,
    say,
)

S = PayoutStatus
NOW = datetime(2026, 4, 2, 9, 15, tzinfo=UTC)
"""The Thursday before Easter."""
BY = By("cli:ada", "a test needs it", NOW)

WISH = Wish(
    mode="payment_card",
    first_name="Ada",
    last_name="Mensah",
    email="ada@example.com",
    details={"fields": {"iban": "DE02120300000000202051"}},
)

pytestmark = pytest.mark.usefixtures("database")


def _balance(amount_minor: int = 10_000, *, currency: str = "EUR", **terms: Any) -> Balance:
    """Return a balance that has somewhere to pay to."""
    balance = a_balance(amount_minor, currency=currency, **terms)
    slug = an_integration(test_mode=balance.test_mode).slug
    with transaction() as session:
        set_destination(session, balance.id, slug, WISH, BY)
    return get_balance(balance.id)


def _pay(balance: Balance, amount_minor: int | None = None, *, now: datetime = NOW, **asked: Any) -> Created:
    usual = {
        "organisation_id": balance.organisation_id,
        "test_mode": balance.test_mode,
        "balance_id": balance.id,
        "amount_minor": amount_minor,
    }
    with transaction() as session:
        return create_balance_payout(session, BalancePayout(**{**usual, **asked}), now, actor="key:test")


def _refusal(balance: Balance, amount_minor: int | None = None, **asked: Any) -> str:
    with pytest.raises(Refused) as refused:
        _pay(balance, amount_minor, **asked)
    with transaction() as session:
        assert session.exec(select(Payout).where(Payout.business_day == date(2026, 4, 7))).all() == []
    return refused.value.code


def test_it_is_scheduled_for_the_next_business_day_of_its_currency_and_its_money_is_held_at_once() -> None:
    balance = _balance(10_000)

    created = _pay(balance, 4_000, description="April", reference="r", metadata={"a": "b"})

    payout = get_payout(created.id)
    assert (payout.status, payout.submission) == (S.SCHEDULED, SubmissionState.UNSENT)
    assert payout.business_day == date(2026, 4, 7)  # Good Friday and Easter Monday are no TARGET days
    assert payout.scheduled_at == datetime(2026, 4, 7, 4, 0, tzinfo=UTC)
    assert payout.next_poll_at == payout.scheduled_at
    assert (payout.balance_id, payout.debit_minor, payout.fee_minor) == (balance.id, 4_000, 0)
    assert (payout.description, payout.partner_reference, payout.partner_metadata) == ("April", "r", {"a": "b"})
    assert not created.is_due
    assert [event.status for event in get_events(payout)] == ["pending", "scheduled"]
    assert get_sums(balance.id) == {"funding": -10_000, "available": 6_000, "held": 4_000}


def test_it_leaves_when_its_day_has_come_and_not_before() -> None:
    payout = get_payout(_pay(_balance(), 4_000).id)
    assert payout.scheduled_at is not None

    with transaction() as session:
        assert begin(session, payout.id, NOW) is None
        early = datetime(2026, 4, 7, 3, 59, tzinfo=UTC)
        assert begin(session, payout.id, early) is None
        assert begin(session, payout.id, payout.scheduled_at) is not None


def test_no_amount_is_everything_available_above_the_reserve() -> None:
    balance = _balance(10_000, reserve_minor=1_500)

    created = _pay(balance)

    assert get_payout(created.id).amount_minor == 8_500
    assert get_balance(balance.id).available_minor == 0


def test_creating_one_sets_the_automatic_frequency_to_never() -> None:
    balance = _balance(transfer_frequency=Frequency.DAILY, next_transfer_at=NOW)

    _pay(balance, 4_000)

    now = get_balance(balance.id)
    assert (now.transfer_frequency, now.next_transfer_at) == (Frequency.NEVER, None)


def test_a_refused_one_leaves_the_frequency_as_it_is() -> None:
    balance = _balance(transfer_frequency=Frequency.DAILY)

    assert _refusal(balance, 10_001) == "insufficient_funds"

    assert get_balance(balance.id).transfer_frequency == Frequency.DAILY


def test_one_a_day_and_another_after_it_was_called_off() -> None:
    balance = _balance()
    first = _pay(balance, 1_000)

    with pytest.raises(Refused) as refused:
        _pay(balance, 1_000)
    assert refused.value.code == "already_scheduled"
    assert "2026-04-07" in str(refused.value)

    say(get_payout(first.id), S.CANCELED, source=Source.PARTNER)
    second = _pay(balance, 1_000)
    assert get_payout(second.id).business_day == date(2026, 4, 7)
    assert get_balance(balance.id).held_minor == 1_000


def test_the_next_day_is_another_day() -> None:
    balance = _balance()
    _pay(balance, 1_000)

    later = _pay(balance, 1_000, now=datetime(2026, 4, 7, 9, tzinfo=UTC))

    assert get_payout(later.id).business_day == date(2026, 4, 8)


@pytest.mark.parametrize(
    ("amount", "terms", "code"),
    [
        (10_001, {}, "insufficient_funds"),
        (8_501, {"reserve_minor": 1_500}, "insufficient_funds"),
        (0, {}, "insufficient_funds"),
        (None, {"reserve_minor": 10_000}, "insufficient_funds"),
        (1, {"status": "inactive"}, "balance_inactive"),
        (1, {"payouts_blocked": "being looked into"}, "payouts_blocked"),
        (1, {"queued_refunds": 2}, "refunds_queued"),
    ],
)
def test_what_forbids_one_is_told_at_once(amount: int | None, terms: dict[str, Any], code: str) -> None:
    assert _refusal(_balance(10_000, **terms), amount) == code


def test_a_debt_of_the_organisation_in_another_currency_forbids_one() -> None:
    balance = _balance()
    debtor = a_balance(0, currency="USD", negative_threshold_minor=100)
    with transaction() as session:
        charge(session, debtor.id, 101, BY)

    assert _refusal(balance, 1) == "balance_below_threshold"


def test_a_balance_that_pays_to_nowhere_is_told_so() -> None:
    assert _refusal(a_balance(10_000), 1) == "destination_missing"


def test_a_destination_that_its_gateway_cannot_be_told_any_more_is_invalid() -> None:
    balance = a_balance(10_000)
    integration = an_integration("mollie", options={"balance_id": "bal_theirs"})
    with transaction() as session:
        set_destination(session, balance.id, integration.slug, WISH, BY)
        session.get_one(Integration, integration.id).options = {}

    assert _refusal(balance, 1) == "destination_invalid"


def test_a_destination_that_cannot_be_opened_is_invalid() -> None:
    balance = _balance()
    with transaction() as session:
        session.connection().execute(text("UPDATE balance SET destination = 'garbage'"))

    assert _refusal(balance, 1) == "destination_invalid"


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"is_active": False}, "integration_inactive"),
        ({"has_webhook_secret": False}, "webhook_secret_missing"),
        ({"payouts_enabled": False}, "payouts_disabled"),
    ],
)
def test_the_guards_stand_before_this_way_too(columns: dict[str, Any], code: str) -> None:
    balance = _balance()
    with transaction() as session:
        integration = session.get_one(Integration, balance.destination_integration_id)
        for name, value in columns.items():
            setattr(integration, name, value)

    assert _refusal(balance, 1) == code


@pytest.mark.parametrize("asked", [{"organisation_id": "org_other"}, {"test_mode": True}, {"balance_id": "bal_no"}])
def test_somebody_elses_balance_is_unknown(asked: dict[str, Any]) -> None:
    assert _refusal(_balance(), 1, **asked) == "unknown_balance"


def test_of_twenty_at_once_one_is_scheduled() -> None:
    balance = _balance(10_000)

    def attempt() -> str:
        try:
            return _pay(balance).id
        except Refused as refused:
            return refused.code

    outcomes = at_once(*[attempt] * 20)

    assert outcomes.count("already_scheduled") == 19
    assert get_balance(balance.id).held_minor == 10_000


def test_the_database_knows_the_day_too() -> None:
    balance = _balance()
    _pay(balance, 1_000)

    new = NewPayout(
        integration=an_integration().slug,
        organisation=an_organisation().name,
        order_key=None,
        amount_minor=1,
        currency="EUR",
        business_day=date(2026, 4, 7),
        scheduled_at=datetime(2026, 4, 7, 4, tzinfo=UTC),
    )

    with transaction() as session, pytest.raises(Refused) as refused:
        create(session, new, NOW)

    assert refused.value.code == "already_scheduled"


# --- destinations


def test_where_a_balance_pays_to_is_sealed_and_shown_by_its_end() -> None:
    balance = _balance()

    assert balance.destination is not None
    assert b"DE02" not in balance.destination
    assert balance.destination_label is not None
    assert balance.destination_label.endswith("•••• 2051")


@pytest.mark.parametrize(
    ("connector", "columns", "code"),
    [
        ("paycore", {"test_mode": True}, "mode_differs"),
        ("stripe", {}, "payouts_unsupported"),
        ("mollie", {}, "missing_detail"),
    ],
)
def test_a_destination_that_could_not_work_is_not_taken(connector: str, columns: dict[str, Any], code: str) -> None:
    balance = a_balance(10_000)
    slug = an_integration(connector, **columns).slug

    with transaction() as session, pytest.raises(Refused) as refused:
        set_destination(session, balance.id, slug, WISH, BY)

    assert refused.value.code == code


def test_terms_that_make_no_sense_are_refused() -> None:
    balance = a_balance()

    with transaction() as session, pytest.raises(Refused) as refused:
        set_terms(session, balance.id, {"queued_refunds": -1}, BY)

    assert refused.value.code == "invalid_terms"
