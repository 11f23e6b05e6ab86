"""Calling a payout off: before it left at once, later only with its gateway, and never when nobody knows."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from connectors._base import PayoutUpdate
from models.audit import AuditLine
from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source, SubmissionState
from payouts.ask import take_due
from payouts.cancel import CalledOff, GatewayCall, Wish, ask_soon, call_off, conclude_cancel
from payouts.refused import Refused
from payouts.submit import begin
from tests.concurrency import at_once
from tests.factories import (
    a_payout,
    an_endpoint,
    an_integration,
    get_deliveries,
    get_events,
    get_observations,
    get_payout,
    say,
)
from tests.payouts.silent import change

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
OPERATOR = Wish(Source.OPERATOR, "operator:ada")
PARTNER = Wish(Source.PARTNER, "key:key_1", "req_1")


def _call_off(payout: Payout, wish: Wish = PARTNER) -> CalledOff:
    with transaction() as session:
        return call_off(session, payout.id, wish, NOW)


def _refusal(payout: Payout) -> str:
    with pytest.raises(Refused) as refused:
        _call_off(payout)
    return refused.value.code


def _gateway_call(payout: Payout) -> GatewayCall:
    call = _call_off(payout).remains
    assert call
    return call


def _audit() -> list[AuditLine]:
    with transaction() as session:
        lines = session.exec(select(AuditLine).order_by(AuditLine.id)).all()
    return [line for line in lines if line.action != "payout.created"]


@pytest.mark.parametrize("wish", [OPERATOR, PARTNER])
def test_what_has_not_left_is_canceled_at_once_and_the_partner_is_told(wish: Wish) -> None:
    an_endpoint()
    payout = a_payout(reference=None)

    called_off = _call_off(payout, wish)

    canceled = get_payout(payout.id)
    assert called_off.remains is None
    assert (canceled.status, canceled.submission) == (PayoutStatus.CANCELED, SubmissionState.UNSENT)
    assert [event.status for event in get_events(payout)] == ["pending", "canceled"]
    assert [delivery.id for delivery in get_deliveries(payout)][1:] == called_off.observed.deliveries
    (observation,) = get_observations(payout)
    assert (observation.source, observation.status) == (wish.source, "canceled")
    (line,) = _audit()
    assert (line.actor, line.action, line.entity, line.request_id) == (
        wish.actor,
        "payout.canceled",
        payout.id,
        wish.request_id,
    )
    assert (line.before, line.after) == ({"status": "pending", "submission": "unsent"}, {"status": "canceled"})


def test_what_never_left_is_asked_about_no_more() -> None:
    payout = a_payout(reference=None)

    _call_off(payout)

    assert get_payout(payout.id).next_poll_at is None
    with transaction() as session:
        due = take_due(session, NOW + timedelta(days=30), 10)
    assert (due.to_submit, due.to_ask) == ([], {})


def test_a_scheduled_payout_that_waits_here_is_canceled_at_once() -> None:
    payout = a_payout(reference=None, scheduled_at=NOW + timedelta(days=1))
    say(payout, PayoutStatus.SCHEDULED, source=Source.PARTNER)

    _call_off(payout)

    assert get_payout(payout.id).status == PayoutStatus.CANCELED


def test_a_canceled_payout_is_never_submitted() -> None:
    payout = a_payout(reference=None)
    _call_off(payout)

    with transaction() as session:
        assert begin(session, payout.id, NOW) is None


def test_calling_off_twice_is_calling_off_once() -> None:
    payout = a_payout(reference=None)
    _call_off(payout)

    assert _call_off(payout).remains is None
    assert len(_audit()) == len(get_observations(payout)) == 1


@pytest.mark.parametrize(
    "submission",
    [SubmissionState.SENDING, SubmissionState.UNKNOWN, SubmissionState.NOT_RECEIVED, SubmissionState.REJECTED],
)
def test_what_may_be_at_the_gateway_is_not_called_off(submission: SubmissionState) -> None:
    payout = a_payout(an_integration("mollie"), reference=None, submission=submission)

    assert _refusal(payout) == "not_cancelable"
    assert get_payout(payout.id).status == PayoutStatus.PENDING
    assert _audit() == []


@pytest.mark.parametrize("status", sorted(set(PayoutStatus) - {"pending", "scheduled", "canceled"}))
def test_what_is_being_paid_or_is_over_is_not_called_off(status: PayoutStatus) -> None:
    payout = a_payout(an_integration("mollie"), status=status)

    assert _refusal(payout) == "not_cancelable"


def test_a_gateway_that_cannot_cancel_is_not_asked() -> None:
    assert _refusal(a_payout(an_integration("paycore"))) == "not_cancelable"


def test_a_payout_that_nobody_knows_cannot_be_called_off() -> None:
    with pytest.raises(Refused) as refused, transaction() as session:
        call_off(session, "pay_nobody", PARTNER, NOW)
    assert refused.value.code == "unknown_payout"


@pytest.mark.parametrize("status", [PayoutStatus.PENDING, PayoutStatus.SCHEDULED])
def test_what_waits_at_a_gateway_that_can_is_asked_of_it_and_nothing_is_said_before_its_answer(
    status: PayoutStatus,
) -> None:
    payout = a_payout(an_integration("mollie"), status=status, reference="po_1")

    call = _gateway_call(payout)

    assert (call.reference, call.integration.connector.name, call.is_canceled) == ("po_1", "mollie", False)
    assert get_payout(payout.id).status == status
    assert [(line.actor, line.action, line.after) for line in _audit()] == [("key:key_1", "payout.cancel_asked", None)]


def test_the_gateways_yes_is_its_word() -> None:
    payout = a_payout(an_integration("mollie"), reference="po_1")
    call = _gateway_call(payout)

    with transaction() as session:
        told = PayoutUpdate(reference="po_1", status=PayoutStatus.CANCELED, said="canceled")
        observed = conclude_cancel(session, call, told, NOW)

    assert observed.advanced == 1
    assert get_payout(payout.id).status == PayoutStatus.CANCELED
    assert get_observations(payout)[-1].source == Source.SUBMISSION
    assert [line.action for line in _audit()] == ["payout.cancel_asked", "payout.canceled"]


def test_a_gateway_that_has_begun_meanwhile_is_believed_too() -> None:
    payout = a_payout(an_integration("mollie"), reference="po_1")
    call = _gateway_call(payout)
    say(payout, PayoutStatus.INITIATED)

    with transaction() as session:
        told = PayoutUpdate(reference="po_1", status=PayoutStatus.CANCELED, said="canceled")
        conclude_cancel(session, call, told, NOW)

    assert get_payout(payout.id).status == PayoutStatus.FAILED
    assert [line.action for line in _audit()] == ["payout.cancel_asked"]


def test_an_answer_that_was_lost_is_asked_about_at_once() -> None:
    payout = a_payout(an_integration("mollie"), reference="po_1")
    call = _gateway_call(payout)

    with transaction() as session:
        ask_soon(session, call, NOW)
        due = take_due(session, NOW, 10)

    assert due.to_ask == {payout.integration_id: [payout.id]}


def test_what_an_earlier_submission_left_there_unstarted_is_canceled_here_and_taken_away_there() -> None:
    payout = a_payout(an_integration("fedapay"), reference="7", submission=SubmissionState.UNSENT)

    call = _gateway_call(payout)

    assert get_payout(payout.id).status == PayoutStatus.CANCELED
    assert (call.reference, call.is_canceled) == ("7", True)
    with transaction() as session:
        assert begin(session, payout.id, NOW) is None
        due = take_due(session, NOW + timedelta(days=365), 10)
    assert due.to_ask == {payout.integration_id: [payout.id]}  # until it says that it is gone
    assert due.to_submit == []


def test_with_a_gateway_that_cannot_be_asked_only_what_has_not_left_is_called_off() -> None:
    integration = an_integration("fedapay")
    unstarted = a_payout(integration, reference="7", submission=SubmissionState.UNSENT)
    started = a_payout(integration, reference="8", submission=SubmissionState.ACCEPTED)
    change("UPDATE integration SET connector = 'gone'")

    called_off = _call_off(unstarted)

    assert (get_payout(unstarted.id).status, called_off.remains) == (PayoutStatus.CANCELED, None)
    assert _refusal(started) == "gateway_unavailable"


@pytest.mark.parametrize("rounds", [40])
def test_of_a_cancellation_and_submissions_at_once_exactly_one_wins(rounds: int) -> None:
    integration = an_integration()
    winners = {"submitted": 0, "canceled": 0}

    def submit(payout: Payout) -> str | None:
        with transaction() as session:
            return "submitted" if begin(session, payout.id, NOW) else None

    def cancel(payout: Payout) -> str | None:
        try:
            _call_off(payout)
        except Refused:
            return None
        return "canceled"

    for number in range(rounds):
        payout = a_payout(integration, reference=None)
        calls = [lambda p=payout: submit(p), lambda p=payout: cancel(p), lambda p=payout: submit(p)]  # type: ignore[misc]
        outcomes = at_once(*(calls if number % 2 else reversed(calls)))

        (winner,) = [outcome for outcome in outcomes if outcome]
        winners[winner] += 1
        after = get_payout(payout.id)
        expected = ("canceled", "unsent") if winner == "canceled" else ("pending", "sending")
        assert (after.status, after.submission) == expected

    assert min(winners.values()) > 0, winners
