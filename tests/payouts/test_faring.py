"""How endpoints fare: breakers that open and close, rests that are kept, and endpoints that are given up."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select
from structlog.testing import capture_logs

from models.audit import AuditLine
from models.database import transaction
from models.endpoint import Breaker, Endpoint
from models.notice import Notice
from models.outbox import Delivery
from payouts.attention import read_attention
from payouts.claiming import claim
from payouts.deliveries import Claimed, Finished, Outcome, retry_after
from payouts.faring import FIRST_PAUSE, GIVE_UP_AFTER, LONGEST_PAUSE, LONGEST_REST, OPEN_AFTER
from payouts.notices import Told, ping
from payouts.recording import record
from tests.concurrency import at_once
from tests.factories import a_payout, an_endpoint, an_integration

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


@pytest.fixture
def now(database: None) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


def some_claims(endpoint: Endpoint, number: int, now: datetime) -> list[Claimed]:
    """Return claims at an endpoint, of a payout each. Whether it may be sent to does not matter here."""
    integration = an_integration()
    for _ in range(number):
        a_payout(integration)
    with transaction() as session:
        found = session.exec(
            select(Delivery.id).where(
                Delivery.endpoint_id == endpoint.id, Delivery.state == "open", Delivery.attempts == 0
            )
        ).all()
        ailing = session.get_one(Endpoint, endpoint.id)
        kept = (ailing.breaker, ailing.not_before)
        ailing.breaker, ailing.not_before = Breaker.CLOSED, None
        session.flush()
        claimed = claim(session, found, now).claimed
        ailing.breaker, ailing.not_before = kept
    assert len(claimed) == number
    return claimed


def fails(one: Claimed, now: datetime, code: int | None = 500, rest: timedelta | None = None) -> Finished:
    outcome = Outcome.REFUSED if code else Outcome.UNREACHABLE
    return Finished(one, outcome, now, 12, code, error="it failed", retry_after=rest)


def succeeds(one: Claimed, now: datetime) -> Finished:
    return Finished(one, Outcome.DELIVERED, now, 12, 204)


def do_record(now: datetime, *finished: Finished) -> list[Told]:
    with transaction() as session:
        return record(session, finished, now)


def row(endpoint: Endpoint) -> Endpoint:
    with transaction() as session:
        return session.get_one(Endpoint, endpoint.id)


def fail(endpoint: Endpoint, number: int, now: datetime, **how: Any) -> list[Told]:
    return do_record(now, *[fails(one, now, **how) for one in some_claims(endpoint, number, now)])


# --- the breaker


def test_failures_in_a_row_open_the_breaker_and_one_less_does_not(now: datetime) -> None:
    endpoint = an_endpoint()

    fail(endpoint, OPEN_AFTER - 1, now)
    before = row(endpoint)
    fail(endpoint, 1, now)

    after = row(endpoint)
    assert (before.breaker, before.failures, before.not_before) == (Breaker.CLOSED, OPEN_AFTER - 1, None)
    assert (after.breaker, after.failures, after.openings) == (Breaker.OPEN, OPEN_AFTER, 1)
    assert (after.not_before, after.failing_since) == (now + FIRST_PAUSE, now)


def test_one_success_in_between_starts_the_count_anew(now: datetime) -> None:
    endpoint = an_endpoint()
    first, good, *rest = some_claims(endpoint, OPEN_AFTER + 1, now)

    do_record(now, fails(first, now))
    do_record(now, succeeds(good, now))
    do_record(now, *[fails(one, now + SECOND) for one in rest])

    assert (row(endpoint).breaker, row(endpoint).failures) == (Breaker.CLOSED, OPEN_AFTER - 1)
    assert row(endpoint).failing_since == now + SECOND


def test_within_one_batch_only_what_failed_after_the_last_success_counts(now: datetime) -> None:
    endpoint = an_endpoint()
    claims = some_claims(endpoint, OPEN_AFTER + 3, now)
    *early, good, last = claims

    do_record(now, *[fails(one, now) for one in early], succeeds(good, now), fails(last, now))

    assert (row(endpoint).breaker, row(endpoint).failures) == (Breaker.CLOSED, 1)


def test_a_probe_that_succeeds_closes_the_breaker(now: datetime) -> None:
    endpoint = an_endpoint(breaker=Breaker.HALF_OPEN, failures=40, openings=3, not_before=now, failing_since=now)
    (probe,) = some_claims(endpoint, 1, now)

    do_record(now, succeeds(probe, now))

    after = row(endpoint)
    assert (after.breaker, after.failures, after.openings) == (Breaker.CLOSED, 0, 0)
    assert (after.not_before, after.failing_since) == (None, None)


def test_every_probe_that_fails_makes_the_pause_longer_up_to_a_limit(now: datetime) -> None:
    endpoint = an_endpoint()
    fail(endpoint, OPEN_AFTER, now)
    pauses = []
    for _ in range(9):
        with transaction() as session:
            session.get_one(Endpoint, endpoint.id).breaker = Breaker.HALF_OPEN
        fail(endpoint, 1, now)
        after = row(endpoint)
        assert after.breaker == Breaker.OPEN
        assert after.not_before
        pauses.append(after.not_before - now)

    assert pauses[:3] == [FIRST_PAUSE * 2, FIRST_PAUSE * 4, FIRST_PAUSE * 8]
    assert pauses[-1] == LONGEST_PAUSE


def test_an_attempt_begun_before_the_breaker_opened_makes_its_pause_no_longer(now: datetime) -> None:
    endpoint = an_endpoint()
    fail(endpoint, OPEN_AFTER, now)

    fail(endpoint, 3, now + SECOND)

    assert (row(endpoint).not_before, row(endpoint).openings) == (now + FIRST_PAUSE, 1)


def test_an_endpoint_that_is_well_is_not_written(now: datetime) -> None:
    endpoint = an_endpoint()
    claims = some_claims(endpoint, 3, now)
    with transaction() as session:
        session.get_one(Endpoint, endpoint.id, with_for_update=True)  # would wait for ever, were the row written

        do_record(now, *[succeeds(one, now) for one in claims])

    assert row(endpoint).failures == 0


def test_another_endpoint_of_the_batch_is_not_concerned(now: datetime) -> None:
    bad, good = an_endpoint(), an_endpoint()
    claims = some_claims(bad, OPEN_AFTER, now)
    fine = claim_of(good, now)

    do_record(now, *[fails(one, now) for one in claims], succeeds(fine, now))

    assert (row(bad).breaker, row(good).breaker, row(good).failures) == (Breaker.OPEN, Breaker.CLOSED, 0)


def claim_of(endpoint: Endpoint, now: datetime) -> Claimed:
    with transaction() as session:
        ids = session.exec(select(Delivery.id).where(Delivery.endpoint_id == endpoint.id)).all()
        return claim(session, ids[:1], now).claimed[0]


def test_recorders_that_meet_at_the_same_endpoints_neither_lose_count_nor_lock_each_other_out(now: datetime) -> None:
    endpoints = [an_endpoint() for _ in range(4)]
    integration = an_integration()
    for _ in range(6):
        a_payout(integration)
    with transaction() as session:
        claims = claim(session, session.exec(select(Delivery.id)).all(), now).claimed
    batches = [[fails(one, now) for one in claims[n::6]] for n in range(6)]
    batches[1].reverse()

    at_once(*[lambda batch=batch: do_record(now, *batch) for batch in batches])

    assert [row(endpoint).failures for endpoint in endpoints] == [6] * 4


# --- rests


@pytest.mark.parametrize("code", [429, 503])
def test_a_rest_that_is_asked_for_is_the_whole_endpoints(now: datetime, code: int) -> None:
    endpoint = an_endpoint()

    fail(endpoint, 1, now, code=code, rest=timedelta(minutes=7))

    assert (row(endpoint).breaker, row(endpoint).not_before) == (Breaker.CLOSED, now + timedelta(minutes=7))


def test_the_delivery_itself_waits_for_the_longer_of_schedule_and_rest(now: datetime) -> None:
    endpoint = an_endpoint()
    short, long = some_claims(endpoint, 2, now)

    do_record(now, fails(short, now, 503, SECOND), fails(long, now, 503, timedelta(minutes=7)))

    with transaction() as session:
        waits = [session.get_one(Delivery, one.id).next_attempt_at - now for one in (short, long)]
    assert timedelta(seconds=5) <= waits[0] <= timedelta(seconds=6)
    assert waits[1] == timedelta(minutes=7)


def test_nobody_rests_longer_than_an_hour(now: datetime) -> None:
    endpoint = an_endpoint()

    fail(endpoint, 1, now, code=503, rest=DAY)

    assert row(endpoint).not_before == now + LONGEST_REST


def test_a_rest_outlasts_the_success_of_an_attempt_begun_before_it(now: datetime) -> None:
    endpoint = an_endpoint()
    tired, good = some_claims(endpoint, 2, now)
    do_record(now, fails(tired, now, 429, timedelta(minutes=7)))

    do_record(now, succeeds(good, now))

    assert (row(endpoint).failures, row(endpoint).not_before) == (0, now + timedelta(minutes=7))


# --- given up


def test_an_endpoint_that_is_gone_is_switched_off_and_it_is_said_why(now: datetime) -> None:
    endpoint = an_endpoint()

    (told,) = fail(endpoint, 1, now, code=410)

    after = row(endpoint)
    assert (after.is_enabled, after.disabled_at, after.disabled_reason) == (False, now, "gone")
    with transaction() as session:
        (line,) = session.exec(select(AuditLine).where(AuditLine.entity == endpoint.id)).all()
        notice = session.get_one(Notice, told.id)
    assert (line.actor, line.action) == ("system", "endpoint.disabled")
    assert line.after
    assert line.after["disabled_reason"] == "gone"
    assert json.loads(notice.payload)["data"]["reason"] == "gone"


def test_days_of_nothing_but_failure_switch_an_endpoint_off(now: datetime) -> None:
    endpoint = an_endpoint()
    fail(endpoint, OPEN_AFTER, now)

    not_yet = fail(endpoint, 1, now + GIVE_UP_AFTER - SECOND)
    (told,) = fail(endpoint, 1, now + GIVE_UP_AFTER)

    assert not_yet == []
    assert told.id
    assert (row(endpoint).is_enabled, row(endpoint).disabled_reason) == (False, "failing")


def test_a_few_failures_far_apart_switch_nothing_off(now: datetime) -> None:
    endpoint = an_endpoint()

    for days in (0, 6, 12):
        fail(endpoint, 1, now + days * DAY)

    assert row(endpoint).is_enabled


def test_one_success_in_five_days_keeps_an_endpoint(now: datetime) -> None:
    endpoint = an_endpoint()
    fail(endpoint, OPEN_AFTER, now)
    do_record(now + 4 * DAY, succeeds(*some_claims(endpoint, 1, now), now + 4 * DAY))

    fail(endpoint, OPEN_AFTER, now + 5 * DAY)

    assert row(endpoint).is_enabled


def test_the_organisations_other_endpoints_hear_of_it_whatever_they_subscribe_to(now: datetime) -> None:
    endpoint = an_endpoint(description="the old one")
    hears = an_endpoint(event_types=["payout.failed"])
    an_endpoint(is_enabled=False)
    an_endpoint(test_mode=True)
    an_endpoint(organisation="Somebody else")
    fail(endpoint, OPEN_AFTER, now)

    (told,) = fail(endpoint, 1, now + GIVE_UP_AFTER)

    with transaction() as session:
        (claimed,) = claim(session, told.deliveries, now + GIVE_UP_AFTER).claimed
    body = json.loads(claimed.payload)
    assert (claimed.endpoint_id, claimed.event_id, body["type"]) == (hears.id, told.id, "endpoint.disabled")
    assert (body["data"]["id"], body["data"]["description"]) == (endpoint.id, "the old one")
    assert (body["data"]["reason"], body["data"]["test_mode"]) == ("failing", False)
    assert body["data"]["disabled_at"] > body["data"]["failing_since"]


def test_an_endpoint_is_given_up_once(now: datetime) -> None:
    endpoint = an_endpoint()
    an_endpoint()
    claims = some_claims(endpoint, 6, now)

    told = at_once(*[lambda one=one: do_record(now, fails(one, now, 410)) for one in claims])

    with transaction() as session:
        assert len(session.exec(select(Notice)).all()) == 1
    assert sum(map(len, told)) == 1


def test_what_it_is_still_owed_is_kept_for_when_it_is_enabled_again(now: datetime) -> None:
    endpoint = an_endpoint()
    fail(endpoint, 1, now, code=410)

    with transaction() as session:
        states = session.exec(select(Delivery.state).where(col(Delivery.endpoint_id) == endpoint.id)).all()
    assert states == ["open"]


# --- an endpoint's own schedule


def _failing(times: int, now: datetime) -> Iterator[tuple[str, float]]:
    """Fail the only delivery so often, each time as soon as it is due: its state, and the seconds to the next time."""
    for _ in range(times):
        with transaction() as session:
            (one,) = claim(session, session.exec(select(Delivery.id)).all(), now).claimed
        do_record(now, fails(one, now))
        with transaction() as session:
            (delivery,) = session.exec(select(Delivery)).all()
        yield delivery.state, (delivery.next_attempt_at - now).total_seconds()
        now = max(now, delivery.next_attempt_at)


def test_an_endpoints_own_schedule_is_kept_to_its_end(now: datetime) -> None:
    an_endpoint(retry_schedule=[60, 600])
    a_payout()

    failures = list(_failing(3, now))

    assert [state for state, _ in failures] == ["open", "open", "dead"]
    assert 60 <= failures[0][1] <= 72
    assert 600 <= failures[1][1] <= 720


@pytest.mark.parametrize("own", [None, [3600] * 9])
def test_a_ping_is_given_up_within_a_minute_whatever_the_schedule(now: datetime, own: list[int] | None) -> None:
    endpoint = an_endpoint(retry_schedule=own)
    with transaction() as session:
        ping(session, session.get_one(Endpoint, endpoint.id), now)

    failures = list(_failing(3, now))

    assert [state for state, _ in failures] == ["open", "open", "dead"]
    assert sum(wait for state, wait in failures if state == "open") < 60


def test_an_empty_schedule_is_a_single_attempt() -> None:
    assert retry_after(1, []) is None


# --- what operators see


def test_operators_see_what_we_switched_off_and_what_is_paused(now: datetime) -> None:
    off, paused, well = an_endpoint(), an_endpoint(), an_endpoint()
    fail(off, 1, now, code=410)
    with transaction() as session:
        session.get_one(Endpoint, paused.id).breaker = Breaker.OPEN

    with transaction() as session:
        ailing = read_attention(session, now).endpoints

    assert {(one.id, one.disabled_reason, one.breaker) for one in ailing} == {
        (off.id, "gone", "closed"),
        (paused.id, None, "open"),
    }
    assert well.id not in {one.id for one in ailing}
