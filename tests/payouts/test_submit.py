from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from connectors._base import Accepted, Memento, OutcomeUnknown, PayoutUpdate, Rejected
from models.database import transaction
from models.inbox import InboxState
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source, SubmissionState
from models.sealed import seal, unseal
from payouts.ask import questions, take_due
from payouts.observe import Observed
from payouts.submit import HandOver, begin, conclude, conclude_unknown, conclude_unsent
from tests.concurrency import at_once
from tests.factories import (
    a_payout,
    an_endpoint,
    an_inbox_event,
    an_integration,
    get_deliveries,
    get_inbox_event,
    get_observations,
    get_payout,
    say,
)
from tests.payouts.silent import change

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)

MINUTE = timedelta(minutes=1)


def _begin(payout: Payout) -> HandOver | None:
    with transaction() as session:
        return begin(session, payout.id, NOW)


def _begun(payout: Payout) -> HandOver:
    hand_over = _begin(payout)
    assert hand_over
    return hand_over


def _accepted(status: PayoutStatus = PayoutStatus.PENDING) -> Accepted:
    return Accepted(update=PayoutUpdate(reference="gw-1", status=status, said="requested"))


def _conclude(hand_over: HandOver, reply: Accepted | Rejected) -> Observed:
    with transaction() as session:
        return conclude(session, hand_over, reply, NOW + MINUTE)


def _conclude_unknown(hand_over: HandOver, reference: str | None = None) -> None:
    with transaction() as session:
        conclude_unknown(session, hand_over, OutcomeUnknown("no reply", reference=reference), NOW + MINUTE)


def _conclude_unsent(hand_over: HandOver) -> None:
    with transaction() as session:
        conclude_unsent(session, hand_over, "unavailable: not sent", NOW + MINUTE)


# --- begin


def test_beginning_hands_out_the_order_and_commits_sending(database: None) -> None:
    details = {"service": "card", "fields": {"card_number": "4111"}}
    payout = a_payout(reference=None, details=seal(details), description="May run", order_key="k-1")

    hand_over = _begun(payout)

    order = hand_over.order
    assert (order.order_key, order.amount_minor, order.currency) == ("k-1", 10_000, "EUR")
    assert (order.description, order.details) == ("May run", details)
    assert hand_over.integration.id == payout.integration_id
    begun = get_payout(payout.id)
    assert (begun.submission, begun.submitted_at) == (SubmissionState.SENDING, NOW)


def test_a_crash_after_beginning_leaves_sending_which_is_asked_about_and_never_sent_again(database: None) -> None:
    payout = a_payout(reference=None)

    _begin(payout)  # and then nothing more

    with transaction() as session:
        due = take_due(session, NOW + 10 * MINUTE, 10)
        (question,) = questions(session, [payout.id])
    assert _begin(payout) is None
    assert get_payout(payout.id).submission == SubmissionState.SENDING
    assert (due.to_submit, due.to_ask) == ([], {payout.integration_id: [payout.id]})
    assert question.is_unconfirmed


@pytest.mark.parametrize(
    ("lost", "failure"),
    [
        ("UPDATE integration SET sealed = 'lost'", "unusable: sealed with an unknown key"),
        ("UPDATE integration SET connector = 'gone'", "unusable: no connector 'gone'"),
        ("UPDATE payout SET details = 'lost'", "unusable: sealed with an unknown key"),
    ],
)
def test_what_cannot_be_opened_stays_unsent_and_says_so_and_backs_off(database: None, lost: str, failure: str) -> None:
    payout = a_payout(reference=None, details=seal({}))
    change(lost)

    with capture_logs() as lines:
        hand_over = _begin(payout)

    unsent = get_payout(payout.id)
    assert (hand_over, unsent.submission) == (None, SubmissionState.UNSENT)
    assert (unsent.poll_failures, unsent.poll_step) == (1, 1)
    assert str(unsent.poll_failure).startswith(failure)
    assert unsent.next_poll_at
    assert unsent.next_poll_at - NOW > 3 * MINUTE
    assert [(line["event"], line["payout"]) for line in lines] == [("payout.not_begun", payout.id)]


def test_of_two_workers_that_begin_at_once_one_has_the_payout(database: None) -> None:
    payout = a_payout(reference=None)

    hand_overs = at_once(*[lambda: _begin(payout)] * 4)

    assert len([hand_over for hand_over in hand_overs if hand_over]) == 1


def test_what_another_worker_holds_is_left_alone_at_once(database: None) -> None:
    payout = a_payout(reference=None)

    with transaction() as session:
        first = begin(session, payout.id, NOW)
        second = _begin(payout)

    assert first is not None
    assert second is None


@pytest.mark.parametrize("submission", sorted(set(SubmissionState) - {SubmissionState.UNSENT}))
def test_nothing_but_an_unsent_payout_is_ever_sent(database: None, submission: SubmissionState) -> None:
    payout = a_payout(reference=None, submission=submission)

    assert _begin(payout) is None
    assert get_payout(payout.id).submission == submission


@pytest.mark.parametrize("status", sorted(set(PayoutStatus) - {PayoutStatus.PENDING}))
def test_a_payout_that_has_moved_already_is_not_sent(database: None, status: PayoutStatus) -> None:
    payout = a_payout(reference=None, status=status, submission=SubmissionState.UNSENT)

    assert _begin(payout) is None


def test_a_payout_that_nobody_knows_is_not_sent(database: None) -> None:
    with transaction() as session:
        assert begin(session, "pay_nobody", NOW) is None


# --- what is prepared first


def _begin_prepared(payout: Payout, prepared: Memento) -> HandOver | None:
    with transaction() as session:
        return begin(session, payout.id, NOW, prepared)


def _a_payout_that_wants_preparing() -> Payout:
    return a_payout(an_integration("zopay"), reference=None, currency="USDT")


def test_what_wants_preparing_stays_unsent_until_it_was_prepared(database: None) -> None:
    payout = _a_payout_that_wants_preparing()

    hand_over = _begun(payout)

    assert hand_over.begun_at is None
    unsent = get_payout(payout.id)
    assert (unsent.submission, unsent.submitted_at, unsent.memento) == (SubmissionState.UNSENT, None, None)


def test_what_was_prepared_is_committed_with_sending_and_sealed(database: None) -> None:
    payout = _a_payout_that_wants_preparing()

    hand_over = _begin_prepared(payout, {"quote_id": "quote.1"})

    assert hand_over
    assert (hand_over.begun_at, hand_over.order.memento) == (NOW, {"quote_id": "quote.1"})
    begun = get_payout(payout.id)
    assert begun.submission == SubmissionState.SENDING
    assert begun.memento
    assert b"quote.1" not in begun.memento
    assert unseal(begun.memento) == {"quote_id": "quote.1"}


def test_of_two_that_prepared_it_one_begins(database: None) -> None:
    payout = _a_payout_that_wants_preparing()

    hand_overs = at_once(*[lambda name=name: _begin_prepared(payout, {"quote_id": name}) for name in "abcd"])

    (begun,) = [hand_over for hand_over in hand_overs if hand_over]
    assert unseal(get_payout(payout.id).memento or b"") == begun.order.memento


# --- what is sent again


def _sent_again(payout: Payout) -> HandOver:
    """The gateway has said that nothing of it has moved; somebody begins it anew."""
    with transaction() as session:
        session.get_one(Payout, payout.id).submission = SubmissionState.UNSENT
    with transaction() as session:
        second = begin(session, payout.id, NOW + MINUTE)
    assert second
    return second


def test_what_is_sent_again_carries_the_reference_that_is_known_by_now(database: None) -> None:
    payout = a_payout(reference=None)
    _conclude_unknown(_begun(payout), reference="gw-1")

    assert _sent_again(payout).order.reference == "gw-1"


def test_the_refusal_of_a_first_call_is_no_word_about_the_second(database: None) -> None:
    payout = a_payout(reference=None)
    first = _begun(payout)
    _sent_again(payout)

    _conclude(first, Rejected(code="not_startable", message=""))

    assert get_payout(payout.id).submission == SubmissionState.SENDING
    assert get_payout(payout.id).status == PayoutStatus.PENDING


def test_a_first_call_that_never_left_does_not_release_the_second(database: None) -> None:
    payout = a_payout(reference=None)
    first = _begun(payout)
    _sent_again(payout)

    _conclude_unsent(first)

    assert get_payout(payout.id).submission == SubmissionState.SENDING


# --- the gateway's answer


def test_acceptance_brings_the_reference_and_what_the_gateway_says(database: None) -> None:
    an_endpoint()
    payout = a_payout(reference=None)
    hand_over = _begun(payout)

    observed = _conclude(hand_over, _accepted(PayoutStatus.INITIATED))

    accepted = get_payout(payout.id)
    assert (accepted.submission, accepted.gateway_reference) == (SubmissionState.ACCEPTED, "gw-1")
    assert (accepted.status, accepted.last_evidence_source) == (PayoutStatus.INITIATED, Source.SUBMISSION)
    assert len(observed.deliveries) == 1


def test_acceptance_releases_the_webhooks_that_outran_it(database: None) -> None:
    integration = an_integration()
    payout = a_payout(integration, reference=None)
    hand_over = _begun(payout)
    waiting = an_inbox_event(integration, b"{}", state=InboxState.UNMATCHED, reference="gw-1")

    observed = _conclude(hand_over, _accepted())

    assert observed.released == [waiting]
    assert get_inbox_event(waiting).state == InboxState.NEW


def test_a_rejection_is_failed_with_its_reason_and_stays_rejected(database: None) -> None:
    an_endpoint()
    payout = a_payout(reference=None)
    hand_over = _begun(payout)

    _conclude(hand_over, Rejected(code="no_funds", message="The balance is empty."))

    rejected = get_payout(payout.id)
    assert (rejected.submission, rejected.status) == (SubmissionState.REJECTED, PayoutStatus.FAILED)
    assert (rejected.failure_code, rejected.failure_message) == ("no_funds", "The balance is empty.")
    assert [delivery.sequence for delivery in get_deliveries(payout)] == [1, 2]
    assert _begin(payout) is None


def test_a_webhook_that_outruns_the_reply_is_not_undone_by_it(database: None) -> None:
    payout = a_payout(reference=None)
    hand_over = _begun(payout)
    say(payout, PayoutStatus.BROADCAST)

    _conclude(hand_over, _accepted(PayoutStatus.PENDING))

    joined = get_payout(payout.id)
    assert (joined.status, joined.submission) == (PayoutStatus.BROADCAST, SubmissionState.ACCEPTED)
    assert joined.gateway_reference == "gw-1"
    assert [observation.effect for observation in get_observations(payout)] == ["advanced", "stale"]


# --- the answer that was lost


def test_a_lost_answer_is_unknown_and_asked_about_soon(database: None) -> None:
    payout = a_payout(reference=None)
    hand_over = _begun(payout)

    _conclude_unknown(hand_over)

    unknown = get_payout(payout.id)
    assert (unknown.submission, unknown.status) == (SubmissionState.UNKNOWN, PayoutStatus.PENDING)
    assert unknown.next_poll_at is not None
    assert NOW + MINUTE < unknown.next_poll_at < NOW + 4 * MINUTE
    assert _begin(payout) is None


def test_a_lost_answer_is_unknown_also_of_what_was_taken_for_unsent_meanwhile(database: None) -> None:
    payout = a_payout(reference=None)
    hand_over = _begun(payout)
    with transaction() as session:
        session.get_one(Payout, payout.id).submission = SubmissionState.UNSENT

    _conclude_unknown(hand_over)

    assert get_payout(payout.id).submission == SubmissionState.UNKNOWN


def test_a_lost_answer_may_have_left_the_reference(database: None) -> None:
    integration = an_integration()
    payout = a_payout(integration, reference=None)
    hand_over = _begun(payout)
    waiting = an_inbox_event(integration, b"{}", state=InboxState.UNMATCHED, reference="gw-1")

    _conclude_unknown(hand_over, reference="gw-1")

    assert get_payout(payout.id).gateway_reference == "gw-1"
    assert get_inbox_event(waiting).state == InboxState.NEW


def test_a_webhook_that_outran_the_lost_answer_has_told_already(database: None) -> None:
    payout = a_payout(reference=None)
    hand_over = _begun(payout)
    say(payout, PayoutStatus.DELIVERED, occurred_at=NOW)

    _conclude_unknown(hand_over, reference="gw-1")

    told = get_payout(payout.id)
    assert (told.submission, told.status) == (SubmissionState.ACCEPTED, PayoutStatus.DELIVERED)


def test_an_unknown_outcome_becomes_accepted_by_any_word(database: None) -> None:
    payout = a_payout(reference=None)
    _conclude_unknown(_begun(payout))

    say(payout, PayoutStatus.PENDING, source=Source.POLL)

    assert get_payout(payout.id).submission == SubmissionState.ACCEPTED


# --- the request that never left


def test_what_never_left_is_unsent_again_and_due_again_later(database: None) -> None:
    payout = a_payout(reference=None)
    hand_over = _begun(payout)

    _conclude_unsent(hand_over)

    unsent = get_payout(payout.id)
    assert (unsent.submission, unsent.status) == (SubmissionState.UNSENT, PayoutStatus.PENDING)
    assert (unsent.poll_failures, unsent.poll_failure, unsent.poll_step) == (1, "unavailable: not sent", 1)
    assert unsent.next_poll_at is not None
    assert unsent.next_poll_at > NOW + MINUTE
    with transaction() as session:
        assert take_due(session, NOW + 30 * MINUTE, 10).to_submit == [payout.id]
    assert _begin(payout) is not None


def test_what_never_left_but_is_spoken_of_stays_accepted(database: None) -> None:
    payout = a_payout(reference=None)
    hand_over = _begun(payout)
    say(payout, PayoutStatus.INITIATED)

    _conclude_unsent(hand_over)

    told = get_payout(payout.id)
    assert (told.submission, told.poll_failures) == (SubmissionState.ACCEPTED, 0)
