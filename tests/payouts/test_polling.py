from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.lifecycle import IN_FLIGHT, SETTLED, TOP, PayoutStatus
from payouts.polling import IN_FLIGHT_STEPS, JITTER, SETTLED_STEPS, next_poll_at
from tests.laws import IN_MEMORY

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)

MINUTE = timedelta(minutes=1)

STEPS = st.integers(0, 1_000)


@IN_MEMORY
@given(st.sampled_from(sorted(IN_FLIGHT)), STEPS)
def test_a_payout_in_flight_always_has_a_next_poll(status: PayoutStatus, step: int) -> None:
    at = next_poll_at(status, step, NOW)

    assert at is not None
    assert NOW < at <= NOW + IN_FLIGHT_STEPS[-1] * MINUTE * (1 + JITTER)


@pytest.mark.parametrize(("step", "units"), [*enumerate(IN_FLIGHT_STEPS), (50, IN_FLIGHT_STEPS[-1])])
def test_the_wait_follows_the_schedule_within_its_jitter(step: int, units: int) -> None:
    waits = [next_poll_at(PayoutStatus.BROADCAST, step, NOW) for _ in range(50)]

    assert all(at and units * MINUTE * (1 - JITTER) <= at - NOW <= units * MINUTE * (1 + JITTER) for at in waits)
    assert len(set(waits)) > 1


@pytest.mark.parametrize("status", sorted(SETTLED - {TOP}))
def test_a_settled_payout_is_asked_about_for_days_and_then_no_more(status: PayoutStatus) -> None:
    asked = [next_poll_at(status, step, NOW) for step in range(len(SETTLED_STEPS))]

    assert None not in asked
    assert next_poll_at(status, len(SETTLED_STEPS), NOW) is None


@IN_MEMORY
@given(STEPS)
def test_nothing_can_come_after_returned_so_nobody_asks(step: int) -> None:
    assert next_poll_at(TOP, step, NOW) is None


def test_the_schedules_only_ever_slow_down() -> None:
    assert sorted(IN_FLIGHT_STEPS) == list(IN_FLIGHT_STEPS)
    assert sorted(SETTLED_STEPS) == list(SETTLED_STEPS)
    assert 0 < JITTER < 1


@IN_MEMORY
@given(st.sampled_from(sorted(IN_FLIGHT)), STEPS, st.floats(-0.5, 3))
def test_a_planned_time_is_kept_when_chance_could_have_chosen_it_and_only_then(
    status: PayoutStatus, step: int, of_the_wait: float
) -> None:
    wait = MINUTE * IN_FLIGHT_STEPS[min(step, len(IN_FLIGHT_STEPS) - 1)]
    planned = NOW + of_the_wait * wait

    could_be = wait * (1 - JITTER) <= planned - NOW <= wait * (1 + JITTER)
    assert (next_poll_at(status, step, NOW, planned) == planned) is could_be
