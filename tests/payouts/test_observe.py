import json
from datetime import UTC, datetime, timedelta
from functools import partial, reduce
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.event import listen, remove
from sqlmodel import select

from models.database import engine, transaction
from models.endpoint import Endpoint
from models.inbox import InboxState
from models.lifecycle import IN_FLIGHT, PayoutStatus, at_or_above, join
from models.payout import Payout, Source, SubmissionState
from payouts.observe import Evidence, Observed, observe
from tests.concurrency import at_once
from tests.factories import (
    a_payout,
    an_endpoint,
    an_inbox_event,
    an_integration,
    an_organisation,
    get_deliveries,
    get_events,
    get_inbox_event,
    get_observations,
    get_payout,
    say,
    some_evidence,
)
from tests.laws import IN_POSTGRES

S = PayoutStatus

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)

MINUTE = timedelta(minutes=1)


def _observe(*items: Evidence, now: datetime = NOW) -> Observed:
    with transaction() as session:
        return observe(session, items, now)


def _statuses(payout: Payout) -> list[tuple[int, str | None, str]]:
    return [(event.sequence, event.previous_status, event.status) for event in get_events(payout)]


# --- one word


def test_news_advances_a_payout(database: None) -> None:
    payout = a_payout()

    observed = _observe(some_evidence(payout, S.BROADCAST, occurred_at=NOW - MINUTE))

    advanced = get_payout(payout.id)
    assert (advanced.status, advanced.advanced_at, advanced.occurred_at) == (S.BROADCAST, NOW, NOW - MINUTE)
    assert (advanced.last_evidence_at, advanced.last_evidence_source) == (NOW, Source.WEBHOOK)
    assert observed.advanced == 1
    assert observed.unmatched == []
    assert _statuses(payout) == [(1, None, S.PENDING), (2, S.PENDING, S.BROADCAST)]


def test_stale_news_is_on_record_and_changes_nothing_else(database: None) -> None:
    payout = a_payout(status=S.DELIVERED)
    before = get_payout(payout.id)

    observed = say(payout, S.INITIATED)

    after = get_payout(payout.id)
    assert (after.status, after.sequence, after.advanced_at) == (before.status, before.sequence, before.advanced_at)
    assert (observed.advanced, observed.deliveries) == (0, [])
    assert [(o.said, o.effect) for o in get_observations(payout)] == [("delivered", "advanced"), ("initiated", "stale")]


def test_what_contradicts_is_joined_to_what_is_above_both(database: None) -> None:
    payout = a_payout(status=S.CANCELED)

    say(payout, S.INITIATED)

    assert get_payout(payout.id).status == S.FAILED
    assert _statuses(payout)[-1] == (3, S.CANCELED, S.FAILED)


@pytest.mark.parametrize("status", list(S))
def test_a_hint_moves_nothing_and_makes_the_poll_due_at_once(database: None, status: PayoutStatus) -> None:
    payout = a_payout(status=status)

    observed = _observe(some_evidence(payout, None, said="something changed"))

    hinted = get_payout(payout.id)
    assert (hinted.status, hinted.next_poll_at) == (status, NOW)
    assert (observed.advanced, observed.deliveries) == (0, [])
    assert [(o.effect, o.status) for o in get_observations(payout)][-1] == ("hint", None)


def test_an_observation_keeps_who_said_what_and_when(database: None) -> None:
    payout = a_payout()
    event_id = an_inbox_event(an_integration(), b"{}")
    said = some_evidence(payout, S.BROADCAST, said="processing-at-bank", occurred_at=NOW - MINUTE)

    _observe(Evidence(said.integration_id, said.update, Source.WEBHOOK, event_id))

    (kept,) = get_observations(payout)
    assert (kept.source, kept.said, kept.status, kept.effect) == (
        "webhook",
        "processing-at-bank",
        "broadcast",
        "advanced",
    )
    assert (kept.occurred_at, kept.recorded_at, kept.inbox_event_id) == (NOW - MINUTE, NOW, event_id)
    assert (kept.epoch, kept.note) == (1, None)


def test_no_evidence_does_nothing(database: None) -> None:
    observed = _observe()

    assert observed == Observed()


def test_facts_are_kept_and_silence_about_them_does_not_erase_them(database: None) -> None:
    payout = a_payout()
    soon = NOW + 5 * MINUTE
    facts = {"failure_code": "no_such_account", "failure_message": "Closed.", "estimated_delivery_at": soon}

    _observe(some_evidence(payout, S.BROADCAST, processed_amount_minor=9_900, **facts))
    _observe(some_evidence(payout, S.FAILED))

    kept = get_payout(payout.id)
    assert (kept.failure_code, kept.failure_message) == ("no_such_account", "Closed.")
    assert (kept.processed_amount_minor, kept.estimated_delivery_at) == (9_900, soon)


def test_that_nothing_arrived_is_a_fact_too(database: None) -> None:
    payout = a_payout()

    _observe(some_evidence(payout, S.DELIVERED, processed_amount_minor=10_000))
    _observe(some_evidence(payout, S.RETURNED, processed_amount_minor=0))

    assert get_payout(payout.id).processed_amount_minor == 0


# --- which payout is meant


def test_an_unknown_payout_is_reported_as_unmatched(database: None) -> None:
    payout = a_payout()
    strange = some_evidence(payout, S.DELIVERED, reference="nobody", order_key="nothing")

    observed = _observe(strange, some_evidence(payout, S.BROADCAST))

    assert observed.unmatched == [strange]
    assert get_payout(payout.id).status == S.BROADCAST


def test_the_same_reference_at_another_integration_is_another_payout(database: None) -> None:
    payout = a_payout(reference="same")
    other = a_payout(reference="same")

    say(other, S.DELIVERED)

    assert get_payout(payout.id).status == S.PENDING
    assert get_payout(other.id).status == S.DELIVERED


def test_a_word_without_any_name_matches_nobody(database: None) -> None:
    payout = a_payout(reference=None)

    observed = _observe(some_evidence(payout, S.DELIVERED, reference=None, order_key=None))

    assert len(observed.unmatched) == 1
    assert get_payout(payout.id).status == S.PENDING


def test_the_gateways_reference_is_learnt_by_our_order_key(database: None) -> None:
    payout = a_payout(reference=None)

    _observe(some_evidence(payout, S.INITIATED, reference="gw-1"))
    _observe(some_evidence(payout, S.BROADCAST, reference="gw-1", order_key=None))

    learnt = get_payout(payout.id)
    assert (learnt.gateway_reference, learnt.status) == ("gw-1", S.BROADCAST)
    assert not learnt.is_disputed


def test_a_reference_learnt_in_a_batch_counts_for_the_rest_of_it(database: None) -> None:
    payout = a_payout(reference=None)

    observed = _observe(
        some_evidence(payout, S.INITIATED, reference="gw-1"),
        some_evidence(payout, S.BROADCAST, reference="gw-1", order_key=None),
    )

    assert observed.unmatched == []
    assert get_payout(payout.id).status == S.BROADCAST


def test_events_that_waited_for_a_reference_are_released_by_it(database: None) -> None:
    integration = an_integration()
    payout = a_payout(integration, reference=None)
    unmatched = partial(an_inbox_event, body=b"{}", state=InboxState.UNMATCHED, detail="payout_unknown")
    mine = unmatched(integration, reference="gw-1")
    by_key = unmatched(integration, order_key=payout.order_key)
    other_reference = unmatched(integration, reference="gw-2")
    other_integration = unmatched(an_integration(), reference="gw-1")

    observed = _observe(some_evidence(payout, S.INITIATED, reference="gw-1"))

    assert sorted(observed.released) == [mine, by_key]
    assert [get_inbox_event(event).state for event in (mine, by_key)] == [InboxState.NEW] * 2
    assert [get_inbox_event(event).state for event in (other_reference, other_integration)] == [
        InboxState.UNMATCHED
    ] * 2


# --- what a person must look at


@pytest.mark.parametrize(
    ("facts", "dispute"),
    [
        ({"amount_minor": 10_001, "currency": "EUR"}, "amount_differs"),
        ({"amount_minor": 10_000, "currency": "USD"}, "currency_differs"),
        ({"reference": "another"}, "second_reference"),
    ],
)
def test_what_differs_is_disputed_and_joined_all_the_same(
    database: None, facts: dict[str, object], dispute: str
) -> None:
    payout = a_payout()

    _observe(some_evidence(payout, S.DELIVERED, **facts))

    disputed = get_payout(payout.id)
    assert (disputed.status, disputed.is_disputed, disputed.dispute) == (S.DELIVERED, True, dispute)
    assert disputed.gateway_reference == payout.gateway_reference
    assert [o.note for o in get_observations(payout)] == [dispute]


def test_an_amount_that_agrees_is_not_disputed(database: None) -> None:
    payout = a_payout()

    _observe(some_evidence(payout, S.DELIVERED, amount_minor=10_000, currency="EUR"))

    assert not get_payout(payout.id).is_disputed


def test_a_dispute_stays_and_keeps_its_first_reason(database: None) -> None:
    payout = a_payout()

    _observe(some_evidence(payout, S.BROADCAST, amount_minor=1, currency="EUR"))
    _observe(some_evidence(payout, S.DELIVERED, reference="another"))
    _observe(some_evidence(payout, S.DELIVERED))

    assert (get_payout(payout.id).is_disputed, get_payout(payout.id).dispute) == (True, "amount_differs")
    assert [o.note for o in get_observations(payout)] == ["amount_differs", "second_reference", None]


@pytest.mark.parametrize("undone", [S.FAILED, S.CANCELED])
def test_delivered_after_it_was_undone_is_disputed(database: None, undone: PayoutStatus) -> None:
    payout = a_payout()

    _observe(some_evidence(payout, undone, occurred_at=NOW))
    _observe(some_evidence(payout, S.DELIVERED, occurred_at=NOW + MINUTE))

    disputed = get_payout(payout.id)
    assert (disputed.status, disputed.dispute) == (S.RETURNED, f"delivered_after_{undone}")


@pytest.mark.parametrize("source", [Source.WEBHOOK, Source.POLL])
def test_what_was_not_received_and_moves_after_all_is_disputed(database: None, source: Source) -> None:
    payout = a_payout(submission=SubmissionState.NOT_RECEIVED)

    _observe(some_evidence(payout, S.BROADCAST, source=source))

    disputed = get_payout(payout.id)
    assert (disputed.status, disputed.submission) == (S.BROADCAST, SubmissionState.ACCEPTED)
    assert (disputed.is_disputed, disputed.dispute) == (True, "received_after_all")


@pytest.mark.parametrize(("said", "source"), [(S.FAILED, Source.POLL), (S.BROADCAST, Source.OPERATOR)])
def test_what_was_not_received_and_moves_nothing_is_not_disputed(
    database: None, said: PayoutStatus, source: Source
) -> None:
    payout = a_payout(submission=SubmissionState.NOT_RECEIVED)

    _observe(some_evidence(payout, said, source=source))

    assert not get_payout(payout.id).is_disputed


def test_delivered_news_older_than_the_failure_is_not_disputed(database: None) -> None:
    payout = a_payout()

    _observe(some_evidence(payout, S.FAILED, occurred_at=NOW))
    _observe(some_evidence(payout, S.DELIVERED, occurred_at=NOW - MINUTE))

    joined = get_payout(payout.id)
    assert (joined.status, joined.is_disputed) == (S.RETURNED, False)


@pytest.mark.parametrize(("failed_at", "delivered_at"), [(None, NOW), (NOW, None), (None, None)])
def test_delivered_after_a_failure_without_times_is_disputed(
    database: None, failed_at: datetime | None, delivered_at: datetime | None
) -> None:
    payout = a_payout()

    _observe(some_evidence(payout, S.FAILED, occurred_at=failed_at))
    _observe(some_evidence(payout, S.DELIVERED, occurred_at=delivered_at))

    assert get_payout(payout.id).is_disputed


# --- submission


@pytest.mark.parametrize("submission", ["unsent", "sending", "unknown", "not_received", "accepted"])
@pytest.mark.parametrize("source", [Source.WEBHOOK, Source.POLL, Source.SUBMISSION])
def test_any_word_of_the_gateway_proves_that_it_has_the_payout(
    database: None, submission: SubmissionState, source: Source
) -> None:
    payout = a_payout(submission=submission)

    say(payout, S.PENDING, source=source)

    assert get_payout(payout.id).submission == SubmissionState.ACCEPTED


def test_an_operators_word_says_nothing_about_the_submission(database: None) -> None:
    payout = a_payout(submission=SubmissionState.UNKNOWN)

    say(payout, S.FAILED, source=Source.OPERATOR)

    assert get_payout(payout.id).submission == SubmissionState.UNKNOWN


# --- polls


def test_a_poll_is_counted_and_ends_the_row_of_fruitless_ones(database: None) -> None:
    payout = a_payout(polls=4, poll_failures=3, poll_failure="unavailable: answered 500")

    say(payout, S.PENDING, source=Source.POLL)

    polled = get_payout(payout.id)
    assert (polled.polls, polled.poll_failures, polled.poll_failure) == (5, 0, None)


def test_a_poll_without_news_waits_longer_before_the_next(database: None) -> None:
    payout = a_payout(poll_step=3)

    _observe(some_evidence(payout, S.PENDING, source=Source.POLL))

    polled = get_payout(payout.id)
    assert polled.poll_step == 4
    assert polled.next_poll_at is not None
    assert 40 * MINUTE * 0.8 <= polled.next_poll_at - NOW <= 40 * MINUTE * 1.2


def test_an_advance_starts_the_poll_schedule_anew(database: None) -> None:
    payout = a_payout(poll_step=6)

    _observe(some_evidence(payout, S.BROADCAST))

    advanced = get_payout(payout.id)
    assert advanced.poll_step == 0
    assert advanced.next_poll_at is not None
    assert 2 * MINUTE * 0.8 <= advanced.next_poll_at - NOW <= 2 * MINUTE * 1.2


def test_a_stale_webhook_does_not_put_off_the_next_poll(database: None) -> None:
    payout = a_payout(next_poll_at=NOW + MINUTE, poll_step=2)

    _observe(some_evidence(payout, S.PENDING))

    assert (get_payout(payout.id).next_poll_at, get_payout(payout.id).poll_step) == (NOW + MINUTE, 2)


def test_a_settled_payout_is_asked_about_again_and_a_returned_one_never(database: None) -> None:
    delivered, returned = a_payout(), a_payout()

    _observe(some_evidence(delivered, S.DELIVERED), some_evidence(returned, S.RETURNED))

    assert get_payout(delivered.id).next_poll_at is not None
    assert get_payout(returned.id).next_poll_at is None


# --- batches


def test_several_words_about_one_payout_in_one_batch_are_numbered_in_order(database: None) -> None:
    an_endpoint()
    payout = a_payout()

    observed = _observe(
        *(some_evidence(payout, status) for status in (S.INITIATED, S.PENDING, S.BROADCAST, S.DELIVERED))
    )

    assert observed.advanced == 3
    assert _statuses(payout) == [
        (1, None, S.PENDING),
        (2, S.PENDING, S.INITIATED),
        (3, S.INITIATED, S.BROADCAST),
        (4, S.BROADCAST, S.DELIVERED),
    ]
    assert [o.effect for o in get_observations(payout)] == ["advanced", "stale", "advanced", "advanced"]
    assert [d.sequence for d in get_deliveries(payout)] == [1, 2, 3, 4]
    assert get_payout(payout.id).sequence == 4


def test_two_payouts_interleaved_in_one_batch_do_not_mix(database: None) -> None:
    integration = an_integration()
    one, other = a_payout(integration), a_payout(integration)
    words = [(one, S.INITIATED), (other, S.BROADCAST), (one, S.FAILED), (other, S.DELIVERED), (other, S.INITIATED)]

    observed = _observe(*(some_evidence(payout, status) for payout, status in words))

    assert observed.advanced == 4
    assert _statuses(one) == [(1, None, S.PENDING), (2, S.PENDING, S.INITIATED), (3, S.INITIATED, S.FAILED)]
    assert _statuses(other) == [(1, None, S.PENDING), (2, S.PENDING, S.BROADCAST), (3, S.BROADCAST, S.DELIVERED)]


def test_the_events_payload_is_the_payout_as_it_stood_at_that_step(database: None) -> None:
    payout = a_payout()

    _observe(some_evidence(payout, S.BROADCAST), some_evidence(payout, S.FAILED, failure_code="closed"))

    bodies = [json.loads(event.payload) for event in get_events(payout)]
    assert [body["type"] for body in bodies] == ["payout.pending", "payout.broadcast", "payout.failed"]
    assert [body["data"]["failure"] for body in bodies] == [None, None, {"code": "closed", "message": None}]


# --- what is owed to partners


def test_only_subscribed_and_enabled_endpoints_of_the_payouts_organisation_are_owed(database: None) -> None:
    payout = a_payout()
    everything = an_endpoint()
    subscribed = an_endpoint(event_types=["payout.delivered", "payout.failed"])
    an_endpoint(event_types=["payout.failed"])
    an_endpoint(event_types=[])
    an_endpoint(is_enabled=False)
    an_endpoint(organisation="Umbrella")

    observed = say(payout, S.DELIVERED)

    owed = get_deliveries(payout)
    assert {delivery.endpoint_id for delivery in owed} == {everything.id, subscribed.id}
    assert sorted(observed.deliveries) == sorted(delivery.id for delivery in owed)
    assert {(d.event_id, d.sequence, d.state, d.attempts) for d in owed} == {(get_events(payout)[-1].id, 2, "open", 0)}


def test_two_partners_in_one_batch_hear_of_their_own_payouts_only(database: None) -> None:
    acme, umbrella = an_endpoint(organisation="Acme"), an_endpoint(organisation="Umbrella")
    ours, theirs = a_payout(organisation="Acme"), a_payout(organisation="Umbrella")

    _observe(some_evidence(ours, S.BROADCAST), some_evidence(theirs, S.BROADCAST))

    assert {delivery.endpoint_id for delivery in get_deliveries(ours)} == {acme.id}
    assert {delivery.endpoint_id for delivery in get_deliveries(theirs)} == {umbrella.id}


# --- one transaction


class Crash(Exception):
    """The process dies before its commit."""


def test_a_crash_before_the_commit_leaves_nothing(database: None) -> None:
    an_endpoint()
    integration = an_integration()
    payout = a_payout(integration, reference=None)
    waiting = an_inbox_event(integration, b"{}", reference="gw-1", state=InboxState.UNMATCHED)
    before = get_payout(payout.id)
    owed_before = len(get_deliveries(payout))

    with pytest.raises(Crash), transaction() as session:  # noqa: PT012 (the death is the last statement)
        observed = observe(session, [some_evidence(payout, S.DELIVERED, reference="gw-1")], NOW)
        assert (observed.advanced, len(observed.deliveries), observed.released) == (1, 1, [waiting])
        raise Crash

    assert get_payout(payout.id) == before
    assert get_observations(payout) == []
    assert len(get_events(payout)) == 1
    assert len(get_deliveries(payout)) == owed_before
    assert get_inbox_event(waiting).state == InboxState.UNMATCHED


def test_nothing_is_visible_before_the_commit(database: None) -> None:
    payout = a_payout()

    with transaction() as session:
        observe(session, [some_evidence(payout, S.DELIVERED)], NOW)

        assert get_payout(payout.id).status == S.PENDING
        assert get_observations(payout) == []

    assert get_payout(payout.id).status == S.DELIVERED


# --- any order, any repetition, any batches, any number of workers


@IN_POSTGRES
@given(history=st.lists(st.sampled_from(S), min_size=1, max_size=6), data=st.data())
def test_any_shuffle_repetition_and_batching_of_a_history_ends_the_same(
    database: None, history: list[PayoutStatus], data: st.DataObject
) -> None:
    an_organisation()
    if not _has_endpoint():
        an_endpoint()
    payout = a_payout()
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=4))
    words = data.draw(st.permutations(history + repeated))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(words)), max_size=3)))

    for start, end in zip([0, *cuts], [*cuts, len(words)], strict=True):
        _observe(*(some_evidence(payout, status) for status in words[start:end]))

    events = get_events(payout)
    assert get_payout(payout.id).status == reduce(join, history, S.PENDING)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.previous_status for event in events] == [None, *(event.status for event in events[:-1])]
    assert all(after.status in at_or_above(S(before.status)) for before, after in pairwise(events))
    assert [json.loads(event.payload)["data"]["status"] for event in events] == [event.status for event in events]
    assert events[-1].status == get_payout(payout.id).status
    assert [delivery.sequence for delivery in get_deliveries(payout)] == [event.sequence for event in events]
    assert len(get_observations(payout)) == len(words)


def _has_endpoint() -> bool:
    with transaction() as session:
        return session.exec(select(Endpoint)).first() is not None


def test_a_payout_in_flight_always_has_a_next_poll_whatever_is_said(database: None) -> None:
    payouts = [a_payout() for _ in S]

    for word in (*S, None):
        _observe(*(some_evidence(payout, word) for payout in payouts))
        _observe(
            *(some_evidence(payout, status, source=Source.POLL) for payout, status in zip(payouts, S, strict=True))
        )

        standing = [get_payout(payout.id) for payout in payouts]
        assert all(payout.next_poll_at for payout in standing if payout.status in IN_FLIGHT)


def test_two_workers_with_evidence_about_the_same_payouts_end_right_without_a_deadlock(database: None) -> None:
    an_endpoint()
    integration = an_integration()
    payouts = [a_payout(integration) for _ in range(4)]
    steps = [S.SCHEDULED, S.INITIATED, S.BROADCAST, S.DELIVERED]

    def work(order: int) -> int:
        advanced = 0
        for step in steps[::order]:
            advanced += _observe(*(some_evidence(payout, step) for payout in payouts[::order])).advanced
        return advanced

    advanced = at_once(lambda: work(1), lambda: work(-1), lambda: work(1))

    assert [get_payout(payout.id).status for payout in payouts] == [S.DELIVERED] * 4
    assert sum(advanced) == sum(len(get_events(payout)) - 1 for payout in payouts)
    for payout in payouts:
        events = get_events(payout)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert [event.previous_status for event in events] == [None, *(event.status for event in events[:-1])]
        assert len(get_observations(payout)) == 12


def test_two_workers_with_the_same_news_announce_it_once(database: None) -> None:
    an_endpoint()
    payout = a_payout()

    both = at_once(*[lambda: _observe(some_evidence(payout, S.DELIVERED))] * 2)

    assert sorted(observed.advanced for observed in both) == [0, 1]
    assert len(get_events(payout)) == 2
    assert [delivery.sequence for delivery in get_deliveries(payout)] == [1, 2]


def test_a_batch_of_a_hundred_costs_as_many_statements_as_a_batch_of_one(database: None) -> None:
    integration = an_integration()
    payouts = [a_payout(integration) for _ in range(101)]
    statements: list[str] = []
    listeners = (engine(), "before_cursor_execute", lambda *call: statements.append(call[2]))
    listen(*listeners)

    _observe(some_evidence(payouts[0], S.DELIVERED))
    for_one = len(statements)
    observed = _observe(*(some_evidence(payout, S.DELIVERED) for payout in payouts[1:]))
    remove(*listeners)

    assert observed.advanced == 100
    assert len(statements) - for_one == for_one


def test_costs_are_kept_each_as_it_was_last_heard(database: None) -> None:
    payout = a_payout()

    say(payout, S.INITIATED, costs={"fees": 40, "commission": 2})
    say(payout, S.DELIVERED, costs={"fees": 45, "amount_transferred": 9_955})
    say(payout, S.DELIVERED)

    assert get_payout(payout.id).costs == {"fees": 45, "commission": 2, "amount_transferred": 9_955}


def _advance_and_count(payout: Payout, status: PayoutStatus, now: datetime) -> tuple[int, int]:
    """Return how many rows were updated, and how many of them without touching an index."""
    counted = text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'payout'")
    with transaction() as session:
        before = session.connection().execute(counted).one()
        assert observe(session, [some_evidence(payout, status)], now).advanced == 1
        after = session.connection().execute(counted).one()
    return after[0] - before[0], after[1] - before[1]


def test_news_close_together_touches_no_index_of_the_payout(database: None) -> None:
    payout, now = a_payout(), datetime.now(UTC)
    say(payout, PayoutStatus.SCHEDULED)

    assert _advance_and_count(payout, PayoutStatus.INITIATED, now + timedelta(milliseconds=20)) == (1, 1)
    assert _advance_and_count(payout, PayoutStatus.BROADCAST, now + timedelta(milliseconds=40)) == (1, 1)


def test_it_seems_quiet_no_later_than_it_is_until_it_is_over(database: None) -> None:
    payout, soon = a_payout(), datetime.now(UTC) + timedelta(seconds=1)

    _observe(some_evidence(payout, PayoutStatus.INITIATED), now=soon)
    once = get_payout(payout.id)
    _observe(some_evidence(payout, PayoutStatus.BROADCAST), now=soon + timedelta(hours=1))
    later = get_payout(payout.id)
    _observe(some_evidence(payout, PayoutStatus.DELIVERED), now=soon + timedelta(hours=2))

    assert once.quiet_since is not None
    assert once.quiet_since <= once.advanced_at == soon
    assert later.quiet_since == later.advanced_at == soon + timedelta(hours=1)
    assert get_payout(payout.id).quiet_since is None
