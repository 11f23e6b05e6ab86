from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import text
from sqlmodel import col, select

import payouts.deliveries
from models.database import transaction
from models.endpoint import Endpoint
from models.lifecycle import PayoutStatus
from models.outbox import Attempt, Delivery, DeliveryState
from models.payout import Payout
from payouts.claiming import Claims, claim, successors
from payouts.deliveries import (
    JITTER,
    LEASE,
    MOST_ATTEMPTS,
    RETRY_AFTER,
    Claimed,
    Finished,
    Outcome,
    Target,
    retry_after,
)
from payouts.recording import record
from payouts.sweeping import sweep_due
from tests.concurrency import at_once
from tests.factories import a_payout, an_endpoint, an_integration, get_deliveries, get_events, say

SECOND = timedelta(seconds=1)

DAY = timedelta(days=1)


@pytest.fixture
def now(database: None) -> datetime:
    """Give a time at which everything that a test has created is due."""
    return datetime.now(UTC) + timedelta(minutes=1)


@pytest.fixture
def endpoint(database: None) -> Endpoint:
    """Give an endpoint that hears everything."""
    return an_endpoint()


def _claim(now: datetime, *payouts: Payout) -> list[Claimed]:
    """Claim whatever may be claimed of these payouts' deliveries."""
    ids = [delivery.id for payout in payouts for delivery in get_deliveries(payout)]
    with transaction() as session:
        return claim(session, ids, now).claimed


def _claim_one(now: datetime, payout: Payout) -> Claimed:
    (claimed,) = _claim(now, payout)
    return claimed


def _finished(claimed: Claimed, outcome: Outcome, now: datetime) -> Finished:
    return Finished(claimed, outcome, now, 12, 204 if outcome is Outcome.DELIVERED else 500, b"\xffanswer")


def _record(now: datetime, outcome: Outcome, *claims: Claimed) -> list[Finished]:
    finished = [_finished(claimed, outcome, now) for claimed in claims]
    with transaction() as session:
        record(session, finished, now)
    return finished


def _successors(now: datetime, finished: Sequence[Finished]) -> list[str]:
    with transaction() as session:
        return successors(session, finished, now)


def _due_heads(now: datetime) -> list[str]:
    with transaction() as session:
        return sweep_due(session, now, 1_000)


def _attempts(delivery_id: str) -> list[Attempt]:
    with transaction() as session:
        logged = select(Attempt).where(Attempt.delivery_id == delivery_id).order_by(col(Attempt.id))
        return list(session.exec(logged))


def _a_payout_with_news(number: int = 2) -> Payout:
    """Return a payout with this many events and deliveries."""
    payout = a_payout()
    for status in (PayoutStatus.INITIATED, PayoutStatus.BROADCAST, PayoutStatus.DELIVERED)[: number - 1]:
        say(payout, status)
    return payout


# --- claiming


def test_a_claim_carries_all_that_an_attempt_needs(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()
    (event,) = get_events(payout)

    claimed = _claim_one(now, payout)

    (delivery,) = get_deliveries(payout)
    assert (claimed.id, claimed.number, claimed.leased_until) == (delivery.id, 1, now + LEASE)
    assert (claimed.endpoint_id, claimed.payout_id, claimed.event_id) == (endpoint.id, payout.id, event.id)
    assert (claimed.to, claimed.payload) == (Target(endpoint.url, ("v1",), endpoint.sealed), event.payload)
    assert (delivery.leased_until, delivery.attempts) == (now + LEASE, 1)


def test_only_the_oldest_open_delivery_of_a_payout_is_claimed(endpoint: Endpoint, now: datetime) -> None:
    payout = _a_payout_with_news(4)

    claimed = _claim(now, payout)

    assert [one.id for one in claimed] == [get_deliveries(payout)[0].id]


def test_every_endpoint_and_every_payout_has_a_head_of_its_own(endpoint: Endpoint, now: datetime) -> None:
    other = an_endpoint("http://127.0.0.1:9/other")
    payouts = [_a_payout_with_news(2) for _ in range(2)]

    claimed = _claim(now, *payouts)

    assert {(one.endpoint_id, one.payout_id) for one in claimed} == {
        (hears.id, payout.id) for hears in (endpoint, other) for payout in payouts
    }
    assert {event.sequence for payout in payouts for event in get_events(payout)[:1]} == {1}


def test_an_endpoint_that_subscribes_to_later_events_only_has_its_own_head(database: None, now: datetime) -> None:
    endpoint = an_endpoint(event_types=["payout.delivered"])
    payout = _a_payout_with_news(4)

    claimed = _claim_one(now, payout)

    assert (claimed.endpoint_id, claimed.event_id) == (endpoint.id, get_events(payout)[3].id)


def test_a_delivery_that_is_not_due_is_not_claimed(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()
    _record(now, Outcome.REFUSED, _claim_one(now, payout))
    (delivery,) = get_deliveries(payout)

    assert _claim(delivery.next_attempt_at - SECOND, payout) == []
    assert len(_claim(delivery.next_attempt_at, payout)) == 1


def test_a_disabled_endpoint_is_never_claimed_for_and_goes_on_where_it_was(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()
    _enable(endpoint, is_enabled=False)

    while_disabled = (_claim(now, payout), _due_heads(now))
    _enable(endpoint, is_enabled=True)

    assert while_disabled == ([], [])
    assert len(_claim(now, payout)) == 1


def _enable(endpoint: Endpoint, *, is_enabled: bool) -> None:
    with transaction() as session:
        row = session.get(Endpoint, endpoint.id)
        assert row
        row.is_enabled = is_enabled


def test_claiming_nothing_or_what_nobody_knows_is_nothing(now: datetime) -> None:
    with transaction() as session:
        assert claim(session, [], now) == Claims()
        assert claim(session, ["dlv_nobody"], now) == Claims()


def test_claims_by_several_workers_are_disjoint(endpoint: Endpoint, now: datetime) -> None:
    integration = an_integration()
    payouts = [a_payout(integration) for _ in range(40)]

    claims = at_once(*[lambda: _claim(now, *payouts)] * 3)

    ids = [one.id for claimed in claims for one in claimed]
    assert len(ids) == len(set(ids)) == 40
    assert {one.number for claimed in claims for one in claimed} == {1}


def test_what_another_worker_is_claiming_is_not_waited_for(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()

    with transaction() as session:
        first = claim(session, [delivery.id for delivery in get_deliveries(payout)], now).claimed
        second = _claim(now, payout)

    assert (len(first), second) == (1, [])


# --- the lease


def test_a_claimed_delivery_is_nobody_elses_until_its_lease_ends(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()
    _claim_one(now, payout)

    during = (_claim(now + LEASE, payout), _due_heads(now + LEASE))
    again = _claim_one(now + LEASE + SECOND, payout)

    assert during == ([], [])
    assert again.number == 2


def test_a_late_failure_of_an_attempt_whose_lease_ran_out_does_not_touch_the_newer_one(
    endpoint: Endpoint, now: datetime
) -> None:
    payout = a_payout()
    late = _claim_one(now, payout)
    later = now + LEASE + SECOND
    newer = _claim_one(later, payout)

    _record(later, Outcome.UNREACHABLE, late)

    (delivery,) = get_deliveries(payout)
    assert (delivery.state, delivery.leased_until, delivery.attempts) == ("open", later + LEASE, 2)
    assert [attempt.number for attempt in _attempts(delivery.id)] == [1]
    assert _claim(later, payout) == []

    _record(later, Outcome.DELIVERED, newer)

    (delivery,) = get_deliveries(payout)
    assert (delivery.state, delivery.closed_at) == ("delivered", later)


def test_a_late_success_counts_whoever_holds_the_lease(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()
    late = _claim_one(now, payout)
    later = now + LEASE + SECOND
    newer = _claim_one(later, payout)

    _record(later, Outcome.DELIVERED, late)
    _record(later, Outcome.REFUSED, newer)

    (delivery,) = get_deliveries(payout)
    assert (delivery.state, delivery.leased_until) == ("delivered", None)
    assert [attempt.outcome for attempt in _attempts(delivery.id)] == ["delivered", "refused"]


def test_a_late_failure_that_nobody_has_overtaken_is_taken(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()
    late = _claim_one(now, payout)
    later = now + 2 * LEASE

    _record(later, Outcome.REFUSED, late)

    (delivery,) = get_deliveries(payout)
    assert delivery.leased_until is None
    assert delivery.next_attempt_at > later


# --- what an attempt has done


def test_an_attempt_is_logged_as_it_was(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()

    _record(now, Outcome.REFUSED, _claim_one(now, payout))

    (attempt,) = _attempts(get_deliveries(payout)[0].id)
    assert (attempt.number, attempt.outcome, attempt.status_code) == (1, "refused", 500)
    assert (attempt.started_at, attempt.duration_ms, attempt.answer) == (now, 12, b"\xffanswer")


def test_an_attempt_without_an_answer_has_none(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()
    nobody = Finished(_claim_one(now, payout), Outcome.UNREACHABLE, now, 5, error="timeout")

    with transaction() as session:
        record(session, [nobody], now)

    (attempt,) = _attempts(get_deliveries(payout)[0].id)
    assert (attempt.status_code, attempt.answer, attempt.error) == (None, None, "timeout")


def test_delivered_closes_a_delivery_for_good(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()

    _record(now, Outcome.DELIVERED, _claim_one(now, payout))

    (delivery,) = get_deliveries(payout)
    assert (delivery.state, delivery.closed_at, delivery.leased_until) == ("delivered", now, None)
    assert _claim(now + 10 * DAY, payout) == []


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.UNREACHABLE, Outcome.FORBIDDEN])
def test_any_failure_is_tried_again_later(endpoint: Endpoint, now: datetime, outcome: Outcome) -> None:
    payout = a_payout()

    _record(now, outcome, _claim_one(now, payout))

    (delivery,) = get_deliveries(payout)
    assert (delivery.state, delivery.leased_until, delivery.closed_at) == ("open", None, None)
    assert RETRY_AFTER[0] <= delivery.next_attempt_at - now <= RETRY_AFTER[0] * (1 + JITTER)


def test_after_the_last_attempt_a_delivery_is_dead(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()
    moment = now

    for number in range(1, MOST_ATTEMPTS + 1):
        claimed = _claim_one(moment, payout)
        _record(moment, Outcome.REFUSED, claimed)
        assert claimed.number == number
        moment += 2 * DAY

    (delivery,) = get_deliveries(payout)
    assert (delivery.state, delivery.closed_at) == (DeliveryState.DEAD, moment - 2 * DAY)
    assert [attempt.number for attempt in _attempts(delivery.id)] == list(range(1, MOST_ATTEMPTS + 1))
    assert _claim(moment + DAY, payout) == []


def test_one_batch_records_every_attempt_in_it(endpoint: Endpoint, now: datetime) -> None:
    integration = an_integration()
    good, bad = a_payout(integration), a_payout(integration)
    finished = [
        _finished(_claim_one(now, good), Outcome.DELIVERED, now),
        _finished(_claim_one(now, bad), Outcome.REFUSED, now),
    ]

    with transaction() as session:
        record(session, finished, now)

    assert [get_deliveries(payout)[0].state for payout in (good, bad)] == ["delivered", "open"]


# --- the schedule


def test_the_retry_schedule_spans_three_days_and_only_slows_down() -> None:
    assert MOST_ATTEMPTS == 10
    assert all(earlier < later for earlier, later in pairwise(RETRY_AFTER))
    assert timedelta(days=3) < sum(RETRY_AFTER, timedelta()) < timedelta(days=4)


@pytest.mark.parametrize("number", range(1, MOST_ATTEMPTS))
def test_each_wait_is_never_shorter_than_the_schedule_and_a_fifth_longer_at_most(number: int) -> None:
    waits = [retry_after(number) for _ in range(100)]

    assert all(wait and RETRY_AFTER[number - 1] <= wait <= RETRY_AFTER[number - 1] * (1 + JITTER) for wait in waits)
    assert len(set(waits)) > 1


@pytest.mark.parametrize("number", [MOST_ATTEMPTS, MOST_ATTEMPTS + 1])
def test_after_the_last_attempt_there_is_no_wait(number: int) -> None:
    assert retry_after(number) is None


def test_a_shortened_schedule_keeps_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payouts.deliveries.random, "uniform", min)
    told = type("Told", (), {"retry_scale": 0.5})
    monkeypatch.setattr(payouts.deliveries, "settings", lambda: told)

    assert [retry_after(number) for number in (1, 9)] == [RETRY_AFTER[0] / 2, RETRY_AFTER[8] / 2]


# --- order


def test_a_partner_hears_of_one_payout_in_order(endpoint: Endpoint, now: datetime) -> None:
    payout = _a_payout_with_news(4)
    heard = []

    while claimed := _claim(now, payout):
        finished = _record(now, Outcome.DELIVERED, *claimed)
        heard += [one.event_id for one in claimed]
        assert _successors(now, finished) == [d.id for d in get_deliveries(payout) if d.state == "open"][:1]

    assert heard == [event.id for event in get_events(payout)]


def test_a_head_that_fails_holds_up_its_own_payout_alone(endpoint: Endpoint, now: datetime) -> None:
    stuck, other = _a_payout_with_news(2), _a_payout_with_news(2)

    finished = _record(now, Outcome.REFUSED, _claim_one(now, stuck))

    delivered = [_record(now, Outcome.DELIVERED, _claim_one(now, other)) for _ in get_deliveries(other)]
    assert _claim(now, stuck) == []
    assert _successors(now, finished) == []
    assert [one.claimed.event_id for batch in delivered for one in batch] == [event.id for event in get_events(other)]


def test_a_head_that_fails_at_one_endpoint_does_not_hold_up_the_others(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()
    other = an_endpoint("http://127.0.0.1:9/other")
    say(payout, PayoutStatus.BROADCAST)

    claimed = {one.endpoint_id: one for one in _claim(now, payout)}
    _record(now, Outcome.REFUSED, claimed[endpoint.id])
    finished = _record(now, Outcome.DELIVERED, claimed[other.id])

    assert _successors(now, finished) == []  # it subscribed after the payout's birth, so this was its only one
    assert {delivery.endpoint_id for delivery in get_deliveries(payout) if delivery.state == "open"} == {endpoint.id}


def test_after_a_head_is_dead_its_successor_is_the_head(endpoint: Endpoint, now: datetime) -> None:
    payout = _a_payout_with_news(2)
    head, successor = get_deliveries(payout)
    with transaction() as session:
        last = text("UPDATE delivery SET attempts = :used WHERE id = :id")
        session.connection().execute(last, {"used": MOST_ATTEMPTS - 1, "id": head.id})

    finished = _record(now, Outcome.REFUSED, _claim_one(now, payout))

    assert get_deliveries(payout)[0].state == DeliveryState.DEAD
    assert _successors(now, finished) == [successor.id]
    assert [one.id for one in _claim(now, payout)] == [successor.id]


def test_a_successor_is_named_once_however_many_attempts_have_finished(endpoint: Endpoint, now: datetime) -> None:
    payouts_ = [_a_payout_with_news(3) for _ in range(3)]

    finished = _record(now, Outcome.DELIVERED, *_claim(now, *payouts_))

    assert sorted(_successors(now, [*finished, *finished])) == sorted(
        get_deliveries(payout)[1].id for payout in payouts_
    )


def test_a_successor_that_somebody_holds_already_is_not_named(endpoint: Endpoint, now: datetime) -> None:
    payout = _a_payout_with_news(2)
    finished = _record(now, Outcome.DELIVERED, _claim_one(now, payout))
    _claim_one(now, payout)

    assert _successors(now, finished) == []


def test_the_sweep_sees_due_heads_the_longest_due_first(endpoint: Endpoint, now: datetime) -> None:
    first, second, held = (_a_payout_with_news(2) for _ in range(3))
    _claim_one(now, held)

    heads = _due_heads(now)

    assert heads == [get_deliveries(first)[0].id, get_deliveries(second)[0].id]


@pytest.mark.parametrize("delivers", [True, False])
def test_workers_that_race_over_one_payout_never_hold_two_of_its_deliveries(
    endpoint: Endpoint, now: datetime, *, delivers: bool
) -> None:
    payout = _a_payout_with_news(4)
    heard: list[str] = []

    def work() -> None:
        for _ in range(6):
            for one in _claim(now, payout):
                heard.append(one.event_id)
                if delivers:
                    _record(now, Outcome.DELIVERED, one)

    at_once(work, work, work)

    sequence = [event.id for event in get_events(payout)]
    assert heard == sequence[: len(heard)]
    open_and_leased = [d for d in get_deliveries(payout) if d.state == "open" and d.leased_until]
    assert len(open_and_leased) <= 1


def test_a_worker_that_dies_before_its_commit_leaves_no_trace(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()

    _die_after_claiming(payout, now)

    (delivery,) = get_deliveries(payout)
    assert (delivery.attempts, delivery.leased_until) == (0, None)


def _die_after_claiming(payout: Payout, now: datetime) -> None:
    with pytest.raises(KeyboardInterrupt), transaction() as session:  # noqa: PT012 (the death is the last statement)
        claim(session, [delivery.id for delivery in get_deliveries(payout)], now)
        raise KeyboardInterrupt


def test_an_event_is_the_same_bytes_at_every_attempt(endpoint: Endpoint, now: datetime) -> None:
    payout = a_payout()
    first = _claim_one(now, payout)
    say(payout, PayoutStatus.BROADCAST)

    again = _claim_one(now + LEASE + SECOND, payout)

    assert (first.event_id, first.payload) == (again.event_id, again.payload)


def test_all_that_is_owed_is_kept_until_it_is_delivered_or_dead(endpoint: Endpoint, now: datetime) -> None:
    _a_payout_with_news(3)

    with transaction() as session:
        states = {delivery.state for delivery in session.exec(select(Delivery))}

    assert states == {DeliveryState.OPEN}
