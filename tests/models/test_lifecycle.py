from functools import reduce
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.lifecycle import BOTTOM, DIRECTLY_ABOVE, IN_FLIGHT, SETTLED, TOP, PayoutStatus, at_or_above, join
from tests.laws import IN_MEMORY

S = PayoutStatus

HISTORIES = st.lists(st.sampled_from(PayoutStatus), min_size=1, max_size=12)


def _closure() -> set[tuple[PayoutStatus, PayoutStatus]]:
    """Every (lower, upper) pair of the order, worked out from the arrows alone."""
    order = {(status, status) for status in S} | {(low, high) for low in S for high in DIRECTLY_ABOVE[low]}
    for middle, low, high in product(S, S, S):
        if (low, middle) in order and (middle, high) in order:
            order.add((low, high))
    return order


ORDER = _closure()


def test_join_is_associative_over_all_triples() -> None:
    triples = list(product(S, S, S))

    broken = [(a, b, c) for a, b, c in triples if join(join(a, b), c) is not join(a, join(b, c))]

    assert len(triples) == 512
    assert broken == []


def test_join_is_commutative_over_all_pairs() -> None:
    assert [(a, b) for a, b in product(S, S) if join(a, b) is not join(b, a)] == []


def test_join_is_idempotent() -> None:
    assert [status for status in S if join(status, status) is not status] == []


@pytest.mark.parametrize("left", S)
def test_join_is_the_least_upper_bound(left: PayoutStatus) -> None:
    for right in S:
        above_both = {status for status in S if (left, status) in ORDER and (right, status) in ORDER}

        joined = join(left, right)

        assert joined in above_both
        assert all((joined, other) in ORDER for other in above_both)


def test_the_order_is_a_partial_order() -> None:
    assert [(a, b) for a, b in ORDER if a is not b and (b, a) in ORDER] == []
    assert {status: at_or_above(status) for status in S} == {
        status: frozenset(high for low, high in ORDER if low is status) for status in S
    }


def test_every_status_has_its_place_between_bottom_and_top() -> None:
    assert set(DIRECTLY_ABOVE) == set(S)
    assert all((BOTTOM, status) in ORDER and (status, TOP) in ORDER for status in S)


@pytest.mark.parametrize(
    ("status", "said", "becomes"),
    [
        (S.CANCELED, S.INITIATED, S.FAILED),  # a cancellation after submission
        (S.CANCELED, S.BROADCAST, S.FAILED),
        (S.FAILED, S.DELIVERED, S.RETURNED),
        (S.DELIVERED, S.FAILED, S.RETURNED),
        (S.CANCELED, S.DELIVERED, S.RETURNED),
        (S.DELIVERED, S.BROADCAST, S.DELIVERED),  # stale news
        (S.SCHEDULED, S.CANCELED, S.CANCELED),
        (S.PENDING, S.DELIVERED, S.DELIVERED),  # what lies between was missed, or is still on its way
        (S.RETURNED, S.DELIVERED, S.RETURNED),
    ],
)
def test_the_examples_of_the_architecture_hold(status: PayoutStatus, said: PayoutStatus, becomes: PayoutStatus) -> None:
    assert join(status, said) is becomes


@IN_MEMORY
@given(HISTORIES, st.data())
def test_any_shuffle_with_repetitions_ends_the_same(history: list[PayoutStatus], data: st.DataObject) -> None:
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=12))
    shuffled = data.draw(st.permutations(history + repeated))

    assert reduce(join, shuffled, BOTTOM) is reduce(join, history, BOTTOM)


@IN_MEMORY
@given(HISTORIES)
def test_a_status_never_moves_back_on_the_way(history: list[PayoutStatus]) -> None:
    status = BOTTOM

    for said in history:
        before, status = status, join(status, said)

        assert (before, status) in ORDER
        assert (said, status) in ORDER


def test_in_flight_and_settled_share_out_every_status() -> None:
    assert set(S) == IN_FLIGHT | SETTLED
    assert not IN_FLIGHT & SETTLED
    assert {S.PENDING, S.SCHEDULED, S.INITIATED, S.BROADCAST} == IN_FLIGHT


def test_what_is_settled_is_never_in_flight_again() -> None:
    assert [(low, high) for low, high in ORDER if low in SETTLED and high in IN_FLIGHT] == []
