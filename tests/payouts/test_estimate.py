from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.database import transaction
from models.lifecycle import IN_FLIGHT, PayoutStatus
from models.payout import Payout
from payouts.estimate import expected_at
from payouts.payload import as_shown, rfc3339
from payouts.standing import lock
from payouts.submit import begin
from tests.factories import a_payout, get_events, get_payout, say
from tests.laws import IN_MEMORY

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _a_payout(
    status: PayoutStatus = PayoutStatus.PENDING, *, route_seconds: int | None = 90, **columns: object
) -> Payout:
    usual = {"order_key": "k", "amount_minor": 1, "currency": "EUR", "created_at": NOW, "advanced_at": NOW}
    return Payout(status=status, route_seconds=route_seconds, **{**usual, **columns})


def test_it_is_the_routes_seconds_from_when_it_was_created() -> None:
    assert expected_at(_a_payout()) == NOW + timedelta(seconds=90)


def test_one_that_leaves_later_is_expected_later() -> None:
    monday = NOW + timedelta(days=6)

    assert expected_at(_a_payout(PayoutStatus.SCHEDULED, scheduled_at=monday)) == monday + timedelta(seconds=90)


def test_from_the_moment_it_has_left_that_moment_counts() -> None:
    parked_for_an_hour = _a_payout(submitted_at=NOW + 60 * MINUTE)

    assert expected_at(parked_for_an_hour) == NOW + 60 * MINUTE + timedelta(seconds=90)


@pytest.mark.parametrize(
    ("status", "left"),
    [(PayoutStatus.PENDING, 90), (PayoutStatus.INITIATED, 60), (PayoutStatus.BROADCAST, 30)],
)
def test_after_slow_steps_those_to_come_take_their_share(status: PayoutStatus, left: int) -> None:
    slow = _a_payout(status, submitted_at=NOW, advanced_at=NOW + 60 * MINUTE)

    assert expected_at(slow) == NOW + 60 * MINUTE + timedelta(seconds=left)


def test_quick_steps_bring_nothing_forward() -> None:
    quick = _a_payout(PayoutStatus.BROADCAST, submitted_at=NOW, advanced_at=NOW + timedelta(seconds=1))

    assert expected_at(quick) == NOW + timedelta(seconds=90)


def test_the_gateway_knows_better_until_it_is_proven_wrong() -> None:
    sooner = NOW + timedelta(seconds=5)

    believed = _a_payout(PayoutStatus.INITIATED, estimated_delivery_at=sooner)
    proven_wrong = _a_payout(PayoutStatus.BROADCAST, estimated_delivery_at=sooner, advanced_at=NOW + 5 * MINUTE)

    assert expected_at(believed) == sooner
    assert expected_at(proven_wrong) == NOW + 5 * MINUTE + timedelta(seconds=30)


def test_where_only_the_gateway_has_said_something_it_stands_though_it_is_late() -> None:
    late = _a_payout(PayoutStatus.BROADCAST, route_seconds=None, estimated_delivery_at=NOW - MINUTE)

    assert expected_at(late) == NOW - MINUTE


def test_where_nobody_has_said_anything_nothing_is_expected() -> None:
    assert expected_at(_a_payout(route_seconds=None)) is None


@pytest.mark.parametrize("status", set(PayoutStatus) - IN_FLIGHT)
def test_what_is_over_is_expected_no_more(status: PayoutStatus) -> None:
    assert expected_at(_a_payout(status, estimated_delivery_at=NOW)) is None


@IN_MEMORY
@given(st.sampled_from(sorted(IN_FLIGHT)), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_it_is_never_before_it_last_moved_nor_before_the_route_allows(
    status: PayoutStatus, left: int, moved: int, seconds: int
) -> None:
    left_at = NOW + timedelta(seconds=left)
    moved_at = left_at + timedelta(seconds=moved)

    found = expected_at(_a_payout(status, submitted_at=left_at, advanced_at=moved_at, route_seconds=seconds))

    assert found is not None
    assert found > moved_at
    assert found >= left_at + timedelta(seconds=seconds)


def test_answers_webhooks_and_locked_rows_say_the_same_as_it_advances(database: None) -> None:
    payout = a_payout(reference=None, route_seconds=3600)
    shown = [as_shown(get_payout(payout.id))["estimated_delivery_at"]]
    with transaction() as session:
        begin(session, payout.id, datetime.now(UTC) + MINUTE)
    shown.append(as_shown(get_payout(payout.id))["estimated_delivery_at"])

    for status in (PayoutStatus.INITIATED, PayoutStatus.BROADCAST):
        with transaction() as session:
            row = session.get_one(Payout, payout.id)
            row.submitted_at = (row.submitted_at or NOW) - timedelta(hours=1)  # it takes its time
        say(payout, status)
        with transaction() as session:
            (standing,) = lock(session, [payout.id])
        shown.append(as_shown(get_payout(payout.id))["estimated_delivery_at"])
        told = get_events(payout)[-1].payload or ""
        assert f'"estimated_delivery_at":"{rfc3339(shown[-1])}"' in told
        assert expected_at(standing) == shown[-1]
    say(payout, PayoutStatus.DELIVERED)

    assert len(set(shown)) == 4
    assert shown[0] < shown[1]
    assert as_shown(get_payout(payout.id))["estimated_delivery_at"] is None
