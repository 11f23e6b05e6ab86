"""What is due is queued: to be asked about or to be submitted, never more than an integration may be asked."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dramatiq
import pytest
from sqlalchemy import text

import reconciler.poll
from models.database import transaction
from models.integration import Integration
from models.lifecycle import PayoutStatus
from models.payout import Payout, SubmissionState
from reconciler.poll import LARGEST_MESSAGE, poll_due
from settings import settings
from tests.concurrency import at_once
from tests.factories import a_payout, an_integration, get_payout
from workers.broker import NAMESPACE, backlog, broker


@pytest.fixture(autouse=True)
def _empty(database: None) -> Iterator[None]:
    broker.flush_all()
    yield
    broker.flush_all()


def queued(queue: str) -> list[Any]:
    """Return what a queue's messages are about."""
    messages = broker.client.hvals(f"{NAMESPACE}:{queue}.msgs")
    return [dramatiq.Message.decode(message).args[0] for message in messages]


def make_due(*payouts: Payout, ago: timedelta = timedelta(seconds=1)) -> None:
    with transaction() as session:
        for payout in payouts:
            session.get_one(Payout, payout.id).next_poll_at = datetime.now(UTC) - ago


def test_a_due_payout_is_queued_and_not_due_again_at_once() -> None:
    payout = a_payout()
    make_due(payout)

    poll_due()
    poll_due()

    assert queued("poll") == [[payout.id]]
    next_poll_at = get_payout(payout.id).next_poll_at
    assert next_poll_at is not None
    assert next_poll_at > datetime.now(UTC)


def test_what_is_not_due_is_left_alone() -> None:
    a_payout()

    poll_due()

    assert queued("poll") == []


def test_a_settled_payout_is_asked_about_when_it_is_due_too() -> None:
    payout = a_payout(status=PayoutStatus.DELIVERED)
    make_due(payout)

    poll_due()

    assert queued("poll") == [[payout.id]]


def test_what_is_unsent_is_submitted_not_asked_about() -> None:
    payout = a_payout(reference=None)
    make_due(payout)

    poll_due()

    assert (queued("submit"), queued("poll")) == ([payout.id], [])


@pytest.mark.parametrize("state", [SubmissionState.SENDING, SubmissionState.UNKNOWN])
def test_what_may_have_been_sent_is_asked_about_and_never_submitted(state: SubmissionState) -> None:
    payout = a_payout(reference=None, submission=state, submitted_at=datetime.now(UTC))
    make_due(payout)

    poll_due()

    assert (queued("submit"), queued("poll")) == ([], [[payout.id]])


def test_no_integration_is_asked_more_than_it_may_be_and_none_waits_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = replace(settings(), polls_per_second=3)
    monkeypatch.setattr(reconciler.poll, "settings", lambda: slow)
    crowded, calm = an_integration(), an_integration()
    many, one = [a_payout(crowded) for _ in range(10)], a_payout(calm)
    make_due(*many, ago=timedelta(hours=1))
    make_due(one)

    poll_due()

    assert sorted(len(ids) for ids in queued("poll")) == [1, 3]


def test_a_message_is_bounded_and_about_one_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = replace(settings(), polls_per_second=1000)
    monkeypatch.setattr(reconciler.poll, "settings", lambda: quick)
    integration = an_integration()
    make_due(*[a_payout(integration) for _ in range(LARGEST_MESSAGE + 5)])

    poll_due()

    assert sorted(len(ids) for ids in queued("poll")) == [5, LARGEST_MESSAGE]


@pytest.mark.parametrize("change", ["is_active = false", "polls_paused_until = now() + interval '1 minute'"])
def test_an_integration_that_is_off_or_paused_is_not_asked(change: str) -> None:
    make_due(a_payout())
    with transaction() as session:
        session.connection().execute(text(f"UPDATE integration SET {change}"))  # noqa: S608

    poll_due()

    assert queued("poll") == []


def test_after_its_pause_it_is_asked_again() -> None:
    payout = a_payout()
    make_due(payout)
    with transaction() as session:
        session.get_one(Integration, payout.integration_id).polls_paused_until = datetime.now(UTC) - timedelta(
            seconds=1
        )

    poll_due()

    assert queued("poll") == [[payout.id]]


def test_two_reconcilers_at_once_queue_everything_once() -> None:
    payouts = [a_payout() for _ in range(10)]
    make_due(*payouts)

    at_once(poll_due, poll_due)

    assert sorted(ids for message in queued("poll") for ids in message) == sorted(payout.id for payout in payouts)


def test_while_nobody_works_nothing_more_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler.poll, "LONGEST_BACKLOG", 5)
    payout = a_payout()

    for _ in range(50):
        make_due(payout)
        poll_due()

    assert backlog("poll") == 6
    assert get_payout(payout.id).next_poll_at < datetime.now(UTC)  # type: ignore[operator]


def test_while_submissions_wait_none_is_added_and_asking_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler.poll, "LONGEST_BACKLOG", 5)
    unsent, asked = a_payout(reference=None), a_payout()
    for _ in range(50):
        make_due(unsent)
        poll_due()
    make_due(asked)

    poll_due()

    assert backlog("submit") == 6
    assert queued("poll") == [[asked.id]]
