"""Balances that pay out by themselves."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select
from structlog.testing import capture_logs

from models.balance import Balance, Frequency
from models.database import transaction
from models.payout import Payout
from payouts.create import Created
from payouts.destinations import set_destination
from payouts.refused import Refused
from payouts.transfers import due_balances, next_transfer, set_frequency, transfer
from payouts.treasury import By
from reconciler.transfer import transfer_balances
from tests.concurrency import at_once
from tests.factories import a_balance, an_integration, get_balance, get_payout
from tests.payouts.test_balances import WISH

NOW = datetime(2026, 5, 13, 12, tzinfo=UTC)  # a Wednesday
BY = By("cli:ada", "", NOW)

pytestmark = pytest.mark.usefixtures("database")


def _balance(amount_minor: int, frequency: Frequency, *, organisation: str = "Acme") -> Balance:
    balance = a_balance(amount_minor, organisation=organisation)
    slug = an_integration().slug
    with transaction() as session:
        set_destination(session, balance.id, slug, WISH, BY)
        set_frequency(session, balance.id, frequency, BY)
    return get_balance(balance.id)


def _transfer(balance: Balance, now: datetime) -> Created | Refused | None:
    with transaction() as session:
        return transfer(session, balance.id, now)


@pytest.mark.parametrize(
    ("frequency", "currency", "expected"),
    [
        (Frequency.NEVER, "EUR", None),
        (Frequency.DAILY, "EUR", "2026-05-13T22:00:00+00:00"),  # midnight in Berlin
        (Frequency.WEEKLY, "EUR", "2026-05-17T22:00:00+00:00"),  # Monday's
        (Frequency.MONTHLY, "EUR", "2026-05-31T22:00:00+00:00"),
        (Frequency.DAILY, "XOF", "2026-05-14T00:00:00+00:00"),
    ],
)
def test_the_next_time_is_a_midnight_where_the_currency_is_at_home(
    frequency: Frequency, currency: str, expected: str | None
) -> None:
    found = next_transfer(frequency, currency, NOW)

    assert (found.isoformat() if found else None) == expected


def test_on_a_monday_the_next_week_begins_in_a_week_and_a_short_month_is_one_too() -> None:
    assert next_transfer(Frequency.WEEKLY, "XOF", datetime(2026, 5, 18, tzinfo=UTC)) == datetime(
        2026, 5, 25, tzinfo=UTC
    )
    assert next_transfer(Frequency.MONTHLY, "XOF", datetime(2026, 1, 31, tzinfo=UTC)) == datetime(
        2026, 2, 1, tzinfo=UTC
    )


def test_when_its_time_has_come_everything_above_the_reserve_is_scheduled_and_the_frequency_stays() -> None:
    balance = _balance(10_000, Frequency.DAILY)
    due = NOW + timedelta(days=1)

    with transaction() as session:
        assert due_balances(session, NOW) == []
        assert due_balances(session, due) == [balance.id]
    outcome = _transfer(balance, due)

    assert isinstance(outcome, Created)
    payout = get_payout(outcome.id)
    assert (payout.amount_minor, payout.status, payout.description) == (10_000, "scheduled", "daily payout")
    now = get_balance(balance.id)
    assert now.transfer_frequency == Frequency.DAILY
    assert now.next_transfer_at == datetime(2026, 5, 14, 22, tzinfo=UTC)


def test_what_forbids_it_this_time_does_not_end_it() -> None:
    balance = _balance(0, Frequency.DAILY)

    outcome = _transfer(balance, NOW + timedelta(days=1))

    assert isinstance(outcome, Refused)
    assert outcome.code == "insufficient_funds"
    assert get_balance(balance.id).next_transfer_at == datetime(2026, 5, 14, 22, tzinfo=UTC)


def test_two_at_once_schedule_one() -> None:
    balance = _balance(10_000, Frequency.DAILY)

    outcomes = at_once(*[lambda: _transfer(balance, NOW + timedelta(days=1))] * 4)

    assert sum(isinstance(outcome, Created) for outcome in outcomes) == 1
    assert outcomes.count(None) == 3


def test_the_job_takes_every_balance_that_is_due_and_tells_what_it_did() -> None:
    paying, empty = _balance(10_000, Frequency.DAILY), _balance(0, Frequency.DAILY, organisation="Other")
    with transaction() as session:
        for balance in session.exec(select(Balance)):
            balance.next_transfer_at = NOW

    with capture_logs() as lines:
        transfer_balances()

    told = {line["event"]: line["balance"] for line in lines}
    assert told == {"transfer.scheduled": paying.id, "transfer.refused": empty.id}
    with transaction() as session:
        (payout,) = session.exec(select(Payout)).all()
    assert payout.balance_id == paying.id
