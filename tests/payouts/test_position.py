"""Where a payout's money has to stand: the rule of section "what is booked when" in docs/money.md, case by case."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.lifecycle import IN_FLIGHT, PayoutStatus
from models.payout import SubmissionState
from payouts.position import Fate, Position, position
from tests.laws import IN_MEMORY

S = PayoutStatus

HELD = Position(held=100)
NOTHING = Position()
OUT = Position(out=90, fees=10)


def _fate(status: PayoutStatus, **facts: Any) -> Fate:
    usual = {
        "submission": SubmissionState.ACCEPTED,
        "is_disputed": False,
        "debit_minor": 100,
        "fee_minor": 10,
        "amount_minor": 90,
        "processed_amount_minor": None,
        "undoing_is_confirmed": False,
        "part_is_confirmed": False,
    }
    return Fate(status=status, **{**usual, **facts})


@pytest.mark.parametrize("status", sorted(IN_FLIGHT))
def test_money_is_held_while_a_payout_is_in_flight(status: PayoutStatus) -> None:
    assert position(_fate(status)) == HELD


@pytest.mark.parametrize("status", sorted(IN_FLIGHT))
@pytest.mark.parametrize("submission", [s for s in SubmissionState if s is not SubmissionState.NOT_RECEIVED])
def test_an_unknown_outcome_releases_nothing(status: PayoutStatus, submission: SubmissionState) -> None:
    assert position(_fate(status, submission=submission)) == HELD


def test_what_the_gateway_never_had_is_released() -> None:
    assert position(_fate(S.PENDING, submission=SubmissionState.NOT_RECEIVED)) == NOTHING


def test_delivered_money_is_out_and_the_fee_is_ours() -> None:
    assert position(_fate(S.DELIVERED)) == OUT


@pytest.mark.parametrize("status", [S.FAILED, S.CANCELED])
def test_a_webhooks_word_alone_releases_nothing(status: PayoutStatus) -> None:
    assert position(_fate(status)) == HELD


@pytest.mark.parametrize("status", [S.FAILED, S.CANCELED])
@pytest.mark.parametrize(
    "facts",
    [
        {"undoing_is_confirmed": True},
        {"submission": SubmissionState.REJECTED},
        {"submission": SubmissionState.NOT_RECEIVED},
        {"submission": SubmissionState.UNSENT},
    ],
)
def test_a_certain_failure_releases_everything(status: PayoutStatus, facts: dict[str, Any]) -> None:
    assert position(_fate(status, **facts)) == NOTHING


def test_a_return_is_booked_back_once_it_is_confirmed_and_the_fee_stays() -> None:
    assert position(_fate(S.RETURNED)) == OUT
    assert position(_fate(S.RETURNED, undoing_is_confirmed=True)) == Position(fees=10)


@pytest.mark.parametrize("status", [S.FAILED, S.CANCELED])
def test_a_disputed_payout_gets_nothing_back(status: PayoutStatus) -> None:
    assert position(_fate(status, undoing_is_confirmed=True, is_disputed=True)) == HELD


def test_a_disputed_return_counts_as_paid() -> None:
    assert position(_fate(S.RETURNED, undoing_is_confirmed=True, is_disputed=True)) == OUT


@pytest.mark.parametrize(
    ("processed", "is_certain", "expected"),
    [
        (90, False, OUT),
        (91, False, OUT),
        (30, True, Position(out=30, fees=10)),
        (30, False, Position(held=60, out=30, fees=10)),
        (0, True, Position(fees=10)),
    ],
)
def test_of_a_part_that_arrived_the_rest_comes_back_once_it_is_certain(
    processed: int, *, is_certain: bool, expected: Position
) -> None:
    assert position(_fate(S.DELIVERED, processed_amount_minor=processed, part_is_confirmed=is_certain)) == expected


def test_a_part_in_another_currency_is_rounded_against_giving_too_much_back() -> None:
    third = _fate(S.DELIVERED, debit_minor=101, fee_minor=1, amount_minor=3, processed_amount_minor=1)

    assert position(third) == Position(held=66, out=34, fees=1)


FATES = st.builds(
    Fate,
    status=st.sampled_from(PayoutStatus),
    submission=st.sampled_from(SubmissionState),
    is_disputed=st.booleans(),
    debit_minor=st.integers(10, 10**18),
    fee_minor=st.integers(0, 10),
    amount_minor=st.integers(1, 10**18),
    processed_amount_minor=st.none() | st.integers(0, 10**18),
    undoing_is_confirmed=st.booleans(),
    part_is_confirmed=st.booleans(),
)


@IN_MEMORY
@given(FATES)
def test_no_account_is_negative_and_no_more_is_taken_than_the_debit(fate: Fate) -> None:
    stands = position(fate)

    assert min(stands.held, stands.out, stands.fees) >= 0
    assert stands.taken <= fate.debit_minor


@pytest.mark.parametrize(("status", "is_disputed"), list(product(S, (False, True))))
def test_nothing_but_certainty_gives_money_back(status: PayoutStatus, *, is_disputed: bool) -> None:
    told = _fate(status, is_disputed=is_disputed)

    assert position(told).taken == told.debit_minor
