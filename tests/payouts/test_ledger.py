"""What is booked when, through the doors that the product uses."""

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from connectors._base import Accepted, NotFound, OutcomeUnknown, PayoutUpdate, Rejected
from models.balance import Balance, EntryKind
from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source, SubmissionState
from payouts import submit
from payouts.ask import learn, not_asked, questions
from payouts.create import Created, NewPayout, Refused, create
from payouts.ledger import follow, hold
from payouts.observe import observe
from payouts.payer import Cost
from payouts.standing import lock, write
from payouts.treasury import By, charge
from tests.concurrency import at_once
from tests.factories import (
    a_balance,
    a_payout,
    an_integration,
    an_organisation,
    get_balance,
    get_entries,
    get_payout,
    get_sums,
    say,
    some_evidence,
)

S = PayoutStatus

pytestmark = pytest.mark.usefixtures("database")


def _create(amount_minor: int = 30, *, currency: str = "EUR", **more: Any) -> Payout:
    """Create a payout that is not handed over yet."""
    slug = an_integration().slug
    new = {"integration": slug, "organisation": "Acme", "order_key": slug, "amount_minor": amount_minor}
    with transaction() as session:
        created: Created = create(session, NewPayout(**new, currency=currency, **more), datetime.now(UTC))
    return get_payout(created.id)


def _poll(payout: Payout, answer: PayoutStatus | None, *, later: timedelta = timedelta(0), **facts: Any) -> None:
    """Let the gateway answer a poll; None is "not found"."""
    update = some_evidence(payout, answer, **facts).update if answer else NotFound()
    with transaction() as session:
        (question,) = questions(session, [payout.id])
        learn(session, [(question, update)], datetime.now(UTC) + later)


def _hand_over(payout: Payout) -> submit.HandOver:
    with transaction() as session:
        begun = submit.begin(session, payout.id, datetime.now(UTC))
    assert begun is not None
    return begun


def _charge(balance: Balance, amount_minor: int) -> None:
    with transaction() as session:
        charge(session, balance.id, amount_minor, By("test", "a fee", datetime.now(UTC)))


def _kinds(balance_id: str) -> list[str]:
    """Return what was booked, transaction by transaction, without how the money came in."""
    kinds = {entry.transaction_id: entry.kind for entry in get_entries(balance_id)}
    return [kind for kind in kinds.values() if kind not in (EntryKind.CREDITED, EntryKind.RESERVED)]


def test_a_new_payout_holds_what_it_costs() -> None:
    balance = a_balance(100)

    payout = _create(30)

    assert (payout.balance_id, payout.debit_minor, payout.fee_minor) == (balance.id, 30, 0)
    assert get_sums(balance.id) == {"funding": -100, "available": 70, "held": 30}
    now = get_balance(balance.id)
    assert (now.balance_minor, now.held_minor, now.available_minor) == (100, 30, 70)


def test_the_fee_is_held_with_the_amount_and_is_ours_on_delivery() -> None:
    balance = a_balance(100)
    payout = _create(30, cost=Cost(debit_minor=32, fee_minor=2, currency="EUR"))
    assert get_sums(balance.id)["held"] == 32

    say(payout, S.DELIVERED)

    assert get_sums(balance.id) == {"funding": -100, "available": 68, "out": 30, "fees": 2}
    assert get_balance(balance.id).balance_minor == 68


def test_an_organisation_without_any_balance_pays_in_other_ways() -> None:
    an_organisation()

    payout = _create(30)

    assert (payout.balance_id, payout.debit_minor, payout.fee_minor) == (None, None, None)
    say(payout, S.DELIVERED)
    assert get_payout(payout.id).status == S.DELIVERED


def test_one_that_pays_in_beforehand_pays_out_in_no_currency_it_has_not() -> None:
    a_balance(100)

    with pytest.raises(Refused) as refused:
        _create(30, currency="XOF")

    assert refused.value.code == "balance_missing"


def test_a_balance_of_the_other_mode_pays_nothing() -> None:
    live, test = a_balance(100), a_balance(100, test_mode=True)

    payout = _create(30)

    assert payout.balance_id == live.id
    assert get_sums(test.id) == {"funding": -100, "available": 100}


@pytest.mark.parametrize(
    ("terms", "amount", "code"),
    [
        ({}, 101, "insufficient_funds"),
        ({"reserve_minor": 80}, 21, "insufficient_funds"),
        ({"status": "inactive"}, 1, "balance_inactive"),
        ({"payouts_blocked": "being looked into"}, 1, "payouts_blocked"),
    ],
)
def test_a_payout_that_its_balance_does_not_pay_leaves_nothing_behind(
    terms: dict[str, Any], amount: int, code: str
) -> None:
    balance = a_balance(100, **terms)
    an_integration(slug="main")
    new = NewPayout(integration="main", organisation="Acme", order_key="k", amount_minor=amount, currency="EUR")

    with transaction() as session, pytest.raises(Refused) as refused:
        create(session, new, datetime.now(UTC))
    # The caller went on and committed; what was refused is gone all the same.

    assert refused.value.code == code
    assert _kinds(balance.id) == []
    with transaction() as session:
        assert session.exec(select(Payout)).all() == []


def test_exactly_what_is_available_can_be_paid_out() -> None:
    balance = a_balance(100, reserve_minor=40)

    _create(60)

    assert get_balance(balance.id).available_minor == 0
    with pytest.raises(Refused, match=r"0\.00 EUR available"):
        _create(1)


def test_an_organisation_below_its_threshold_anywhere_pays_out_nothing() -> None:
    a_balance(100)
    debtor = a_balance(100, currency="XOF", negative_threshold_minor=10)
    _charge(debtor, 110)
    _create(1)

    _charge(debtor, 1)
    with pytest.raises(Refused) as refused:
        _create(1)

    assert refused.value.code == "balance_below_threshold"
    assert debtor.id in str(refused.value)


def test_a_webhooks_failure_keeps_the_hold_until_a_poll_confirms_it() -> None:
    balance = a_balance(100)
    payout = a_payout(amount_minor=30)

    say(payout, S.FAILED)
    assert get_sums(balance.id)["held"] == 30

    _poll(payout, S.FAILED)
    assert get_sums(balance.id) == {"funding": -100, "available": 100}
    assert _kinds(balance.id)[-1] == "released"


def test_a_failure_that_a_poll_tells_first_releases_at_once() -> None:
    balance = a_balance(100)
    payout = a_payout(amount_minor=30)

    _poll(payout, S.FAILED)

    assert get_sums(balance.id) == {"funding": -100, "available": 100}


def test_a_poll_that_still_says_initiated_does_not_confirm_a_failure() -> None:
    balance = a_balance(100)
    payout = a_payout(amount_minor=30)
    say(payout, S.FAILED)

    _poll(payout, S.INITIATED)

    assert get_payout(payout.id).status == S.FAILED
    assert get_sums(balance.id)["held"] == 30


def test_a_partners_wish_releases_what_never_left_us_and_nothing_else() -> None:
    balance = a_balance(100)
    unsent, accepted = _create(30), a_payout(amount_minor=50)

    for payout in (unsent, accepted):
        say(payout, S.CANCELED, source=Source.PARTNER)

    assert get_sums(balance.id) == {"funding": -100, "available": 50, "held": 50}


def test_a_rejected_submission_releases_the_hold() -> None:
    balance = a_balance(100)
    begun = _hand_over(_create(30))

    with transaction() as session:
        submit.conclude(session, begun, Rejected(code="closed_account", message="no such account"), datetime.now(UTC))

    assert get_sums(balance.id) == {"funding": -100, "available": 100}


def test_an_accepted_submission_and_an_unknown_one_keep_it() -> None:
    balance = a_balance(100)
    accepted, unknown = _create(30), _create(40)
    update = PayoutUpdate(reference="gw-1", status=S.INITIATED, said="initiated")

    first, second = _hand_over(accepted), _hand_over(unknown)
    with transaction() as session:
        submit.conclude(session, first, Accepted(update=update), datetime.now(UTC))
        submit.conclude_unknown(session, second, OutcomeUnknown("timeout"), datetime.now(UTC))

    assert get_sums(balance.id)["held"] == 70


def test_what_the_gateway_never_received_is_released_and_a_late_delivery_is_honoured_all_the_same() -> None:
    balance = a_balance(100)
    payout = _create(100)
    with transaction() as session:
        submit.conclude_unknown(session, _hand_over(payout), OutcomeUnknown("timeout"), datetime.now(UTC))
    assert get_sums(balance.id)["held"] == 100

    _poll(payout, None, later=timedelta(days=30))
    assert get_sums(balance.id) == {"funding": -100, "available": 100}

    _create(80)  # somebody else's now
    say(payout, S.DELIVERED)

    assert get_sums(balance.id) == {"funding": -100, "available": -80, "held": 80, "out": 100}
    assert (get_balance(balance.id).available_minor, get_balance(balance.id).overdraft_minor) == (-80, 80)


def test_one_that_was_given_up_and_moves_after_all_is_held_again_even_below_zero() -> None:
    balance = a_balance(100)
    payout = _create(100)
    with transaction() as session:
        submit.conclude_unknown(session, _hand_over(payout), OutcomeUnknown("timeout"), datetime.now(UTC))
    _poll(payout, None, later=timedelta(days=30))
    _create(80)

    say(payout, S.BROADCAST)

    assert get_sums(balance.id) == {"funding": -100, "available": -80, "held": 180}
    assert _kinds(balance.id)[-1] == "resumed"


def test_a_return_is_polled_for_and_then_booked_back_without_the_fee() -> None:
    balance = a_balance(100)
    payout = _create(30, cost=Cost(debit_minor=32, fee_minor=2, currency="EUR"))
    say(payout, S.DELIVERED)

    say(payout, S.RETURNED)
    assert get_sums(balance.id)["out"] == 30
    assert get_payout(payout.id).next_poll_at is not None

    _poll(payout, S.RETURNED)
    assert get_sums(balance.id) == {"funding": -100, "available": 98, "fees": 2}
    assert get_payout(payout.id).next_poll_at is None
    assert _kinds(balance.id) == ["held", "settled", "returned"]


def test_a_return_that_nobody_confirms_is_asked_about_less_and_less_and_then_left_to_a_person() -> None:
    a_balance(100)
    payout = a_payout(amount_minor=30)
    say(payout, S.RETURNED)
    polls = 0

    while get_payout(payout.id).next_poll_at and polls < 50:
        _poll(payout, S.DELIVERED)
        polls += 1

    assert 3 < polls < 50


def test_a_return_that_cannot_be_asked_about_is_asked_about_later() -> None:
    a_balance(100)
    payout = _create(30)
    say(payout, S.DELIVERED)
    say(payout, S.RETURNED)

    with transaction() as session:
        not_asked(session, [payout.id], None, "sealed with an unknown key", datetime.now(UTC))

    assert get_payout(payout.id).next_poll_at is not None


def test_a_failure_after_delivery_is_a_return_and_comes_back_only_when_a_poll_says_so() -> None:
    balance = a_balance(100)
    payout = a_payout(amount_minor=30)
    say(payout, S.DELIVERED)

    say(payout, S.FAILED)
    assert get_sums(balance.id) == {"funding": -100, "available": 70, "out": 30}

    _poll(payout, S.FAILED)
    assert get_sums(balance.id) == {"funding": -100, "available": 100}


def test_a_delivery_after_a_released_failure_takes_the_money_again() -> None:
    balance = a_balance(100)
    payout = a_payout(amount_minor=30)
    _poll(payout, S.FAILED)

    say(payout, S.DELIVERED)

    assert get_payout(payout.id).is_disputed
    assert get_sums(balance.id) == {"funding": -100, "available": 70, "out": 30}


def test_of_a_partial_delivery_the_rest_is_released_once_it_is_confirmed() -> None:
    balance = a_balance(100)
    payout = a_payout(amount_minor=30)

    say(payout, S.DELIVERED, processed_amount_minor=10)
    assert get_sums(balance.id) == {"funding": -100, "available": 70, "held": 20, "out": 10}

    _poll(payout, S.DELIVERED, processed_amount_minor=10)
    assert get_sums(balance.id) == {"funding": -100, "available": 90, "out": 10}


def test_the_same_news_again_and_in_any_order_books_nothing_twice() -> None:
    balance = a_balance(100)
    payout = a_payout(amount_minor=30)
    for status in (S.BROADCAST, S.DELIVERED, S.INITIATED, S.DELIVERED, S.BROADCAST):
        say(payout, status)

    with transaction() as session:
        follow(session, lock(session, [payout.id]), datetime.now(UTC))

    assert _kinds(balance.id) == ["resumed", "settled"]
    assert get_sums(balance.id) == {"funding": -100, "available": 70, "out": 30}


def test_a_payout_that_the_gateway_has_already_is_booked_even_if_nothing_is_left() -> None:
    balance = a_balance(10)

    a_payout(amount_minor=30)

    assert get_balance(balance.id).available_minor == -20


def test_a_decision_in_a_new_epoch_moves_the_money_to_where_it_says() -> None:
    balance = a_balance(100)
    payout = a_payout(amount_minor=30)
    say(payout, S.FAILED)

    with transaction() as session:
        (standing,) = lock(session, [payout.id])
        session.get_one(Payout, payout.id).epoch = standing.epoch + 1
    say(payout, S.FAILED, source=Source.OPERATOR)

    assert get_sums(balance.id) == {"funding": -100, "available": 100}


def test_what_was_said_in_an_earlier_epoch_confirms_nothing_in_this_one() -> None:
    balance = a_balance(100)
    payout = a_payout(amount_minor=30)
    _poll(payout, S.FAILED)
    with transaction() as session:
        again = session.get_one(Payout, payout.id)
        again.epoch, again.status = 2, S.BROADCAST
        again.next_poll_at, again.quiet_since = datetime.now(UTC), again.advanced_at

    say(payout, S.FAILED)

    assert get_sums(balance.id)["held"] == 30


def test_bookings_roll_back_with_the_evidence_that_caused_them() -> None:
    balance = a_balance(100)
    payout = a_payout(amount_minor=30)

    def tell_and_fail() -> None:
        with transaction() as session:
            observe(session, [some_evidence(payout, S.DELIVERED)], datetime.now(UTC))
            session.connection().exec_driver_sql("SELECT 1/0")

    with pytest.raises(DBAPIError):
        tell_and_fail()

    assert get_sums(balance.id)["held"] == 30
    assert get_payout(payout.id).status == S.PENDING


# --- at once


def test_a_hundred_at_once_never_overdraw_a_balance() -> None:
    balance = a_balance(1_000)

    def take(number: int) -> bool:
        with transaction() as session:
            return hold(session, f"pay_{number}", balance.id, 30, datetime.now(UTC))

    granted = at_once(*[lambda number=number: take(number) for number in range(100)])

    assert granted.count(True) == 33
    assert get_sums(balance.id) == {"funding": -1_000, "available": 10, "held": 990}


def test_crossed_locks_never_deadlock() -> None:
    """Batches of different payouts over the same balances, told and polled for, beside holds."""
    currencies = ("EUR", "USD", "XOF")
    balances = [a_balance(10_000, currency=currency) for currency in currencies]
    integration = an_integration()

    def some_batches() -> list[list[Payout]]:
        return [[a_payout(integration, currency=c, amount_minor=10) for c in currencies] for _ in range(4)]

    def tell(batches: list[list[Payout]]) -> None:
        for status, batch in product((S.INITIATED, S.BROADCAST, S.DELIVERED, S.RETURNED), batches):
            with transaction() as session:
                observe(session, [some_evidence(payout, status) for payout in batch], datetime.now(UTC))

    def ask(batches: list[list[Payout]]) -> None:
        """One payout of each batch turns out to be unknown to the gateway, and one to be delivered."""
        for batch in batches:
            with transaction() as session:
                _make_unknown(session, batch)
            with transaction() as session:
                asked = questions(session, [payout.id for payout in batch])
                news = {batch[1].id: some_evidence(batch[1], S.DELIVERED).update}
                answers = [(question, news.get(question.payout_id, NotFound())) for question in asked]
                learn(session, answers, datetime.now(UTC) + timedelta(days=30))

    def spend() -> None:
        for number in range(30):
            with transaction() as session:
                hold(session, f"pay_{number}", balances[number % 3].id, 1, datetime.now(UTC))

    at_once(
        *[partial(tell, some_batches()) for _ in range(2)],
        *[partial(ask, some_batches()) for _ in range(3)],
        *[spend] * 2,
    )

    for balance in balances:
        sums = get_sums(balance.id)
        assert sum(sums.values()) == 0
        assert sums["available"] + sums["held"] + sums["out"] == 10_000


def _make_unknown(session: Session, payouts: list[Payout]) -> None:
    standings = lock(session, [payout.id for payout in payouts])
    for standing in standings:
        standing.submission = SubmissionState.UNKNOWN
    write(session, standings)
    for payout in session.exec(select(Payout).where(col(Payout.id).in_([standing.id for standing in standings]))):
        payout.submitted_at = datetime.now(UTC)
