from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time
from sqlalchemy import text

from connectors._base import GatewayUnavailable, NotFound, PayoutUpdate
from connectors.paycore import PayCore
from models.database import engine, transaction
from models.integration import Integration
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source, SubmissionState
from payouts.ask import LEASE, LONGEST_CALL, Answer, Due, Question, learn, questions, take_due
from payouts.observe import Observed
from payouts.submit import begin
from tests.concurrency import at_once, somebody_waits_for_a_lock, wait_until
from tests.factories import a_payout, an_endpoint, an_integration, get_deliveries, get_observations, get_payout, say

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)

MINUTE = timedelta(minutes=1)

WINDOW = PayCore.VISIBILITY_WINDOW


def _take(now: datetime = NOW, most: int = 10) -> Due:
    with transaction() as session:
        return take_due(session, now, most)


def _questions(*payouts: Payout) -> list[Question]:
    with transaction() as session:
        return questions(session, [payout.id for payout in payouts])


def _learn(answers: Sequence[tuple[Question, Answer]], now: datetime = NOW) -> Observed:
    with transaction() as session:
        return learn(session, answers, now)


def _answer(payout: Payout, answer: Answer, now: datetime = NOW) -> Observed:
    (question,) = _questions(payout)
    return _learn([(question, answer)], now)


def _paused_until(payout: Payout) -> datetime | None:
    with transaction() as session:
        integration = session.get(Integration, payout.integration_id)
        assert integration
        return integration.polls_paused_until


# --- what is due


def test_a_payout_is_taken_when_its_poll_is_due_and_not_before(database: None) -> None:
    payout = a_payout(next_poll_at=NOW)

    early, due = _take(NOW - timedelta(seconds=1)), _take(NOW)

    assert early == Due({}, [])
    assert due == Due({payout.integration_id: [payout.id]}, [])


def test_what_was_taken_is_leased_and_due_again_after_it(database: None) -> None:
    payout = a_payout(next_poll_at=NOW)
    _take(NOW)

    during, after = _take(NOW + LEASE - timedelta(seconds=1)), _take(NOW + LEASE)

    assert during.to_ask == {}
    assert after.to_ask == {payout.integration_id: [payout.id]}


def test_each_integration_has_its_own_limit_and_the_longest_due_come_first(database: None) -> None:
    one, other = an_integration(), an_integration()
    ones = [a_payout(one, next_poll_at=NOW - minutes * MINUTE) for minutes in range(5)]
    others = [a_payout(other, next_poll_at=NOW) for _ in range(2)]

    due = _take(most=3)

    assert set(due.to_ask[one.id or 0]) == {payout.id for payout in ones[2:]}
    assert set(due.to_ask[other.id or 0]) == {payout.id for payout in others}


def test_an_unsent_payout_is_to_be_submitted_not_asked_about(database: None) -> None:
    integration = an_integration()
    unsent = a_payout(integration, reference=None, next_poll_at=NOW)
    sending = a_payout(integration, reference=None, next_poll_at=NOW, submission=SubmissionState.SENDING)

    due = _take()

    assert due == Due({integration.id or 0: [sending.id]}, [unsent.id])


def test_an_unsent_payout_whose_message_was_lost_is_due_within_minutes(database: None) -> None:
    payout = a_payout(reference=None)

    assert _take(payout.created_at + 3 * MINUTE).to_submit == [payout.id]


@pytest.mark.parametrize("columns", [{"is_active": False}, {"polls_paused_until": NOW + MINUTE}])
def test_an_inactive_or_paused_integration_is_not_asked(database: None, columns: dict[str, object]) -> None:
    a_payout(next_poll_at=NOW)
    payout = a_payout(next_poll_at=NOW)
    _change_integration(payout, **columns)

    due = _take()

    assert payout.integration_id not in due.to_ask
    assert len(due.to_ask) == 1
    assert get_payout(payout.id).next_poll_at == NOW


def _change_integration(payout: Payout, **columns: object) -> None:
    with transaction() as session:
        integration = session.get(Integration, payout.integration_id)
        assert integration
        integration.sqlmodel_update(columns)


def test_a_pause_ends_by_itself(database: None) -> None:
    payout = a_payout(next_poll_at=NOW)
    _change_integration(payout, polls_paused_until=NOW + MINUTE)

    due = _take(NOW + MINUTE)

    assert due.to_ask == {payout.integration_id: [payout.id]}


def test_how_long_absence_says_nothing_is_the_integrations_to_say(database: None) -> None:
    patient = an_integration("paycore", options={"visibility_minutes": 600})
    payout = a_payout(patient, reference=None, submission=SubmissionState.UNKNOWN, submitted_at=NOW)

    _answer(payout, NotFound(), NOW + 2 * WINDOW)
    early = get_payout(payout.id).submission
    _answer(payout, NotFound(), NOW + timedelta(minutes=601))

    assert (early, get_payout(payout.id).submission) == (SubmissionState.UNKNOWN, SubmissionState.NOT_RECEIVED)


AWAITS_START = PayoutUpdate(reference="1377", status=PayoutStatus.PENDING, said="pending", awaits_start=True)


@pytest.mark.parametrize("submission", [SubmissionState.SENDING, SubmissionState.UNKNOWN])
def test_what_the_gateway_has_and_was_not_told_to_start_is_sent_again(
    database: None, submission: SubmissionState
) -> None:
    payout = a_payout(reference=None, submission=submission)

    _answer(payout, AWAITS_START)

    unsent = get_payout(payout.id)
    assert (unsent.submission, unsent.gateway_reference) == (SubmissionState.UNSENT, "1377")
    assert _take(NOW + 30 * MINUTE).to_submit == [payout.id]


def test_what_may_be_told_to_start_in_this_very_moment_is_left_alone(database: None) -> None:
    payout = a_payout(reference=None, submission=SubmissionState.SENDING, submitted_at=NOW)

    _answer(payout, AWAITS_START, NOW + LONGEST_CALL - timedelta(seconds=1))
    while_it_runs = get_payout(payout.id).submission
    _answer(payout, AWAITS_START, NOW + LONGEST_CALL)

    assert (while_it_runs, get_payout(payout.id).submission) == (SubmissionState.SENDING, SubmissionState.UNSENT)


def test_a_start_that_was_answered_is_not_repeated(database: None) -> None:
    payout = a_payout(reference="1377")

    _answer(payout, AWAITS_START)

    assert get_payout(payout.id).submission == SubmissionState.ACCEPTED


def test_a_webhook_about_what_awaits_its_start_does_not_prove_that_it_was_told(database: None) -> None:
    payout = a_payout(reference=None, submission=SubmissionState.SENDING)

    say(payout, PayoutStatus.PENDING, reference="1377", awaits_start=True)
    heard = get_payout(payout.id)
    say(payout, PayoutStatus.INITIATED, reference="1377")

    assert (heard.submission, heard.gateway_reference) == (SubmissionState.SENDING, "1377")
    assert get_payout(payout.id).submission == SubmissionState.ACCEPTED


def test_a_returned_payout_is_never_due(database: None) -> None:
    a_payout(status=PayoutStatus.RETURNED)

    assert _take(NOW + timedelta(days=10_000)) == Due({}, [])


def test_two_reconcilers_take_each_payout_once(database: None) -> None:
    integration = an_integration()
    payouts = [a_payout(integration, next_poll_at=NOW) for _ in range(30)]

    taken = at_once(*[lambda: _take(most=100)] * 3)

    ids = [payout_id for due in taken for ids in due.to_ask.values() for payout_id in ids]
    assert sorted(ids) == sorted(payout.id for payout in payouts)


def test_what_somebody_is_writing_about_is_passed_over_not_waited_for(database: None) -> None:
    integration = an_integration()
    held, free = (a_payout(integration, next_poll_at=NOW) for _ in range(2))

    with engine().connect() as connection:
        connection.execute(text("SELECT FROM payout WHERE id = :id FOR UPDATE"), {"id": held.id})
        due = _take()

    assert due.to_ask == {integration.id: [free.id]}


# --- questions


@pytest.mark.parametrize("submission", list(SubmissionState))
def test_a_question_says_whether_the_gateway_ever_had_it(database: None, submission: SubmissionState) -> None:
    payout = a_payout(submission=submission, submitted_at=NOW)

    (question,) = _questions(payout)

    assert (question.payout_id, question.reference, question.order_key) == (
        payout.id,
        payout.gateway_reference,
        payout.order_key,
    )
    assert question.is_unconfirmed == (submission in {SubmissionState.SENDING, SubmissionState.UNKNOWN})
    assert question.integration.id == payout.integration_id


@pytest.mark.parametrize("renewed", [NOW + 2 * LEASE, NOW + 5 * MINUTE, NOW])
def test_what_was_taken_anew_or_answered_or_hinted_at_since_is_no_question_any_more(
    database: None, renewed: datetime
) -> None:
    integration = an_integration()
    settled, open_ = (a_payout(integration, next_poll_at=NOW) for _ in range(2))
    _take()
    with transaction() as session:
        session.get_one(Payout, settled.id).next_poll_at = renewed

    with transaction() as session:
        asked = questions(session, [settled.id, open_.id], NOW + LEASE)

    assert [question.payout_id for question in asked] == [open_.id]


# --- answers


def test_an_answer_is_evidence_like_any_other(database: None) -> None:
    an_endpoint()
    payout = a_payout()
    answer = PayoutUpdate(reference=payout.gateway_reference, status=PayoutStatus.DELIVERED, said="processed")

    observed = _answer(payout, answer)

    polled = get_payout(payout.id)
    assert (polled.status, polled.polls, polled.last_evidence_source) == (PayoutStatus.DELIVERED, 1, Source.POLL)
    assert [(o.source, o.effect) for o in get_observations(payout)] == [("poll", "advanced")]
    assert observed.deliveries == [get_deliveries(payout)[-1].id]


def test_an_answer_is_about_the_payout_that_was_asked_about_whatever_it_echoes(database: None) -> None:
    payout = a_payout(reference=None, submission=SubmissionState.UNKNOWN)
    answer = PayoutUpdate(reference="gw-1", order_key="echoed wrongly", status=PayoutStatus.PENDING, said="created")

    _answer(payout, answer)

    found = get_payout(payout.id)
    assert (found.gateway_reference, found.submission) == ("gw-1", SubmissionState.ACCEPTED)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [(NotFound(), "not_found"), (GatewayUnavailable("answered 503"), "unavailable: answered 503")],
)
def test_silence_is_counted_and_asked_again_later(database: None, answer: Answer, failure: str) -> None:
    payout = a_payout(poll_step=2, polls=2, poll_failures=1)

    observed = _answer(payout, answer)

    silent = get_payout(payout.id)
    assert (silent.polls, silent.poll_step, silent.poll_failures, silent.poll_failure) == (3, 3, 2, failure)
    assert silent.next_poll_at is not None
    assert 20 * MINUTE * 0.8 <= silent.next_poll_at - NOW <= 20 * MINUTE * 1.2
    assert (silent.status, silent.is_disputed) == (PayoutStatus.PENDING, False)
    assert (observed.advanced, get_observations(payout)) == (0, [])


def test_a_gateways_long_excuse_is_cut(database: None) -> None:
    payout = a_payout()

    _answer(payout, GatewayUnavailable("x" * 10_000))

    assert len(get_payout(payout.id).poll_failure or "") == 120


def test_silence_never_ends_quietly(database: None) -> None:
    payout = a_payout()

    for _ in range(12):
        _answer(payout, GatewayUnavailable("answered 500"))

    silent = get_payout(payout.id)
    assert silent.poll_failures == 12
    assert silent.next_poll_at is not None
    assert silent.next_poll_at - NOW <= timedelta(hours=6) * 1.2


@pytest.mark.parametrize("submission", [SubmissionState.SENDING, SubmissionState.UNKNOWN])
def test_absence_becomes_a_statement_only_after_the_visibility_window(
    database: None, submission: SubmissionState
) -> None:
    payout = a_payout(reference=None)
    with freeze_time(NOW), transaction() as session:
        begin(session, payout.id, datetime.now(UTC))
    _change_submission(payout, submission)

    with freeze_time(NOW + WINDOW):
        _answer(payout, NotFound(), datetime.now(UTC))
    within = get_payout(payout.id).submission
    with freeze_time(NOW + WINDOW + timedelta(seconds=1)):
        _answer(payout, NotFound(), datetime.now(UTC))
    after = get_payout(payout.id).submission

    assert (within, after) == (submission, SubmissionState.NOT_RECEIVED)
    assert get_payout(payout.id).status == PayoutStatus.PENDING


def test_absence_of_a_submission_says_nothing_about_a_later_one(database: None) -> None:
    payout = a_payout(reference=None, submission=SubmissionState.SENDING, submitted_at=NOW)
    later = NOW + 2 * WINDOW
    with transaction() as session:
        asked = questions(session, [payout.id])
    _change_submission(payout, SubmissionState.UNSENT)  # it had not left, and leaves while we ask about it
    with transaction() as session:
        assert begin(session, payout.id, later)

    with transaction() as session:
        learn(session, [(asked[0], NotFound())], later)

    assert get_payout(payout.id).submission == SubmissionState.SENDING


def test_what_awaits_its_start_is_not_sent_again_where_it_has_left_anew_meanwhile(database: None) -> None:
    payout = a_payout(reference=None, submission=SubmissionState.SENDING, submitted_at=NOW)
    with transaction() as session:
        asked = questions(session, [payout.id])
    _change_submission(payout, SubmissionState.UNSENT)
    with transaction() as session:
        assert begin(session, payout.id, NOW + MINUTE)

    with transaction() as session:
        learn(session, [(asked[0], AWAITS_START)], NOW + 3 * MINUTE)

    assert get_payout(payout.id).submission == SubmissionState.SENDING


def _change_submission(payout: Payout, submission: SubmissionState) -> None:
    with transaction() as session:
        row = session.get(Payout, payout.id)
        assert row
        row.submission = submission


@pytest.mark.parametrize("submission", [SubmissionState.ACCEPTED, SubmissionState.REJECTED, SubmissionState.UNSENT])
def test_absence_says_nothing_about_a_submission_that_is_known(database: None, submission: SubmissionState) -> None:
    payout = a_payout(submission=submission, submitted_at=NOW - 2 * WINDOW)

    _answer(payout, NotFound())

    assert get_payout(payout.id).submission == submission


def test_an_unavailable_gateway_says_nothing_however_late(database: None) -> None:
    payout = a_payout(submission=SubmissionState.UNKNOWN, submitted_at=NOW - 10 * WINDOW)

    _answer(payout, GatewayUnavailable("answered 500"))

    assert get_payout(payout.id).submission == SubmissionState.UNKNOWN


def test_a_webhook_that_comes_while_we_ask_outweighs_the_absence(database: None) -> None:
    payout = a_payout(reference=None, submission=SubmissionState.UNKNOWN, submitted_at=NOW - 2 * WINDOW)
    (question,) = _questions(payout)
    say(payout, PayoutStatus.BROADCAST)

    _learn([(question, NotFound())])

    told = get_payout(payout.id)
    assert (told.submission, told.status) == (SubmissionState.ACCEPTED, PayoutStatus.BROADCAST)


def test_what_was_not_received_is_accepted_after_all_when_the_gateway_speaks(database: None) -> None:
    payout = a_payout(submission=SubmissionState.NOT_RECEIVED)

    say(payout, PayoutStatus.INITIATED)

    assert get_payout(payout.id).submission == SubmissionState.ACCEPTED


def test_answers_and_silence_of_one_batch_are_each_taken_for_their_payout(database: None) -> None:
    integration = an_integration()
    told, absent, unavailable = (a_payout(integration) for _ in range(3))
    answers: list[Answer] = [
        PayoutUpdate(reference=told.gateway_reference, status=PayoutStatus.BROADCAST, said="pending"),
        NotFound(),
        GatewayUnavailable("answered 500"),
    ]
    by_id = dict(zip([told.id, absent.id, unavailable.id], answers, strict=True))

    _learn([(question, by_id[question.payout_id]) for question in _questions(told, absent, unavailable)])

    assert get_payout(told.id).status == PayoutStatus.BROADCAST
    assert [get_payout(payout.id).poll_failures for payout in (told, absent, unavailable)] == [0, 1, 1]


# --- a gateway that asks for patience


def test_retry_after_pauses_the_whole_integration(database: None) -> None:
    integration = an_integration()
    payout = a_payout(integration, next_poll_at=NOW)
    a_payout(integration, next_poll_at=NOW)

    _answer(payout, GatewayUnavailable("answered 429", retry_after=2 * MINUTE))

    assert _paused_until(payout) == NOW + 2 * MINUTE
    assert _take(NOW + MINUTE).to_ask == {}


@pytest.mark.parametrize(
    ("waits", "minutes"), [([1, 7, 3], 7), ([24 * 60], 60), ([0], None), ([None], None), ([None, 2], 2)]
)
def test_the_longest_wait_counts_up_to_an_hour(database: None, waits: list[int | None], minutes: int | None) -> None:
    integration = an_integration()
    payouts = [a_payout(integration) for _ in waits]
    answers = [
        GatewayUnavailable("answered 429", retry_after=None if wait is None else wait * MINUTE) for wait in waits
    ]

    _learn(list(zip(_questions(*payouts), answers, strict=True)))

    assert _paused_until(payouts[0]) == (None if minutes is None else NOW + minutes * MINUTE)


def test_an_older_answer_does_not_shorten_the_pause(database: None) -> None:
    payout = a_payout()

    _answer(payout, GatewayUnavailable("answered 429", retry_after=30 * MINUTE))
    _answer(payout, GatewayUnavailable("answered 429", retry_after=MINUTE))

    assert _paused_until(payout) == NOW + 30 * MINUTE


# --- locks


def test_learning_takes_all_its_locks_in_one_order(database: None) -> None:
    """Locked in two lots, the second payout here and the first one below would wait for each other."""
    integration = an_integration()
    first, second = sorted((a_payout(integration) for _ in range(2)), key=lambda payout: payout.id)
    asked = {question.payout_id: question for question in _questions(first, second)}
    update = PayoutUpdate(reference=second.gateway_reference, status=PayoutStatus.BROADCAST, said="pending")
    answers: list[tuple[Question, Answer]] = [(asked[second.id], update), (asked[first.id], NotFound())]

    def hold_the_first_then_take_the_second() -> None:
        with engine().begin() as connection:
            lock = text("SELECT FROM payout WHERE id = :id FOR UPDATE")
            connection.execute(lock, {"id": first.id})
            wait_until(somebody_waits_for_a_lock)
            connection.execute(lock, {"id": second.id})

    at_once(hold_the_first_then_take_the_second, lambda: _learn_once_held(first, answers))

    assert get_payout(second.id).status == PayoutStatus.BROADCAST
    assert get_payout(first.id).poll_failures == 1


def _learn_once_held(payout: Payout, answers: Sequence[tuple[Question, Answer]]) -> None:
    wait_until(lambda: _is_held(payout))
    _learn(answers)


def _is_held(payout: Payout) -> bool:
    with engine().connect() as connection:
        free = text("SELECT FROM payout WHERE id = :id FOR UPDATE SKIP LOCKED")
        return connection.execute(free, {"id": payout.id}).first() is None
