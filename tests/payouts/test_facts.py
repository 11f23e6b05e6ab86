"""What is told beside the status, in whatever order it arrives."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from models.lifecycle import PayoutStatus
from models.payout import Payout, Source
from tests.factories import a_payout, get_payout, say

S = PayoutStatus

T1 = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
T2, T3, T4 = (T1 + timedelta(minutes=minutes) for minutes in (1, 2, 3))

pytestmark = pytest.mark.usefixtures("database")


def _arrived(payout: Payout) -> int | None:
    return get_payout(payout.id).processed_amount_minor


def test_an_older_word_overwrites_nothing_that_a_newer_one_has_told() -> None:
    payout = a_payout()
    newer: dict[str, Any] = {
        "processed_amount_minor": 10_000,
        "costs": {"fees": 45},
        "failure_code": "newer",
        "failure_message": "Newer.",
        "estimated_delivery_at": T4,
    }
    say(payout, S.DELIVERED, occurred_at=T2, **newer)

    older = {**newer, "processed_amount_minor": 7_250, "costs": {"fees": 40}, "failure_code": "older"}
    say(payout, S.DELIVERED, occurred_at=T1, **older | {"failure_message": "Older.", "estimated_delivery_at": T3})

    stands = get_payout(payout.id)
    assert {name: getattr(stands, name) for name in newer} == newer


def test_an_older_word_fills_what_nobody_has_told() -> None:
    payout = a_payout()
    say(payout, S.DELIVERED, occurred_at=T2, costs={"fees": 45})

    say(payout, S.DELIVERED, occurred_at=T1, costs={"fees": 40, "commission": 2}, processed_amount_minor=7_250)

    stands = get_payout(payout.id)
    assert (stands.costs, stands.processed_amount_minor) == ({"fees": 45, "commission": 2}, 7_250)


@pytest.mark.parametrize("order", list(permutations([(T1, 7_250), (T2, 10_000), (T3, 8_000)])))
def test_in_any_order_what_the_newest_word_tells_has_arrived(order: list[tuple[datetime, int]]) -> None:
    payout = a_payout()

    for occurred_at, arrived in order:
        say(payout, S.DELIVERED, occurred_at=occurred_at, processed_amount_minor=arrived)

    assert _arrived(payout) == 8_000


@pytest.mark.parametrize("occurred_at", [T1, None])
@pytest.mark.parametrize("order", list(permutations([7_250, 10_000, 8_000])))
def test_where_no_clock_decides_the_most_has_arrived_whichever_came_first(
    order: list[int], occurred_at: datetime | None
) -> None:
    payout = a_payout()

    for arrived in order:
        say(payout, S.DELIVERED, occurred_at=occurred_at, processed_amount_minor=arrived)

    assert _arrived(payout) == 10_000


@pytest.mark.parametrize("occurred_at", [T1, None])
@pytest.mark.parametrize("source", [Source.POLL, Source.SUBMISSION, Source.OPERATOR])
def test_where_no_clock_decides_whoever_was_asked_may_say_less(source: Source, occurred_at: datetime | None) -> None:
    payout = a_payout()
    say(payout, S.DELIVERED, occurred_at=occurred_at, processed_amount_minor=10_000)

    say(payout, S.DELIVERED, source=source, occurred_at=occurred_at, processed_amount_minor=7_250)

    assert _arrived(payout) == 7_250


def test_an_answer_older_than_what_a_webhook_has_told_meanwhile_overwrites_nothing() -> None:
    payout = a_payout()
    say(payout, S.DELIVERED, occurred_at=T2, processed_amount_minor=10_000)

    say(payout, S.DELIVERED, source=Source.POLL, occurred_at=T1, processed_amount_minor=7_250)

    assert _arrived(payout) == 10_000


@pytest.mark.parametrize("source", [Source.WEBHOOK, Source.POLL])
def test_where_no_clock_decides_a_word_below_the_status_is_the_older_one(source: Source) -> None:
    payout = a_payout()
    say(payout, S.RETURNED, processed_amount_minor=0)

    say(payout, S.DELIVERED, source=source, processed_amount_minor=10_000)

    assert _arrived(payout) == 0
