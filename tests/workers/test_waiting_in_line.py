"""Payouts whose turn does not come: what waits has not left, however long it waits, and leaves once."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

import workers.submit
from connectors import NAMES, connector_class
from connectors._base import NotFound
from connectors._http import TIMEOUT_SECONDS
from models.database import LOCK_TIMEOUT_MS, transaction
from models.integration import Integration
from models.payout import Payout, SubmissionState
from models.switch import SwitchScope
from payouts.ask import learn, questions
from payouts.said_no import could_still_pay
from payouts.switches import throw
from tests.concurrency import wait_until
from tests.factories import get_payout
from tests.sandbox.stand import Stand
from tests.workers.sandboxes import an_integration_at, an_unsent_payout, submissions
from workers.outside import MOST_PER_INTEGRATION, outside
from workers.submit import submit, submit_each

LATER = timedelta(hours=3)
"""Longer than the visibility windows of the gateways here."""


@contextlib.contextmanager
def a_full_line(integration: Integration) -> Iterator[None]:
    """Keep every place that the integration has until the block ends; return when all have had their turn."""
    may_go = asyncio.Event()

    async def stays() -> None:
        await may_go.wait()

    for _ in range(MOST_PER_INTEGRATION):
        outside().start(integration.id or 0, stays())
    try:
        yield
    finally:
        outside()._loop.call_soon_threadsafe(may_go.set)
        wait_until(lambda: not asyncio.all_tasks(outside()._loop))


def _found_nowhere(payout: Payout) -> None:
    """Another worker asks the gateway, which has never heard of it."""
    with transaction() as session:
        asked = questions(session, [payout.id])
    with transaction() as session:
        learn(session, [(question, NotFound()) for question in asked], datetime.now(UTC))


def _may_be_paid_otherwise(payout: Payout) -> bool:
    with transaction() as session:
        return not could_still_pay(session, [payout.id])


@pytest.mark.parametrize("name", ["paycore", "zopay"])
def test_what_has_waited_beyond_the_visibility_window_is_not_given_up_and_leaves_once(stand: Stand, name: str) -> None:
    integration = an_integration_at(stand, name, options={"expired_is_unpaid": True} if name == "zopay" else {})
    payout = an_unsent_payout(integration)

    with freeze_time(datetime.now(UTC), tick=True, real_asyncio=True) as clock:
        with a_full_line(integration):
            submit(payout.id)
            clock.tick(LATER)
            _found_nowhere(payout)
            given_up = _may_be_paid_otherwise(payout)
            waiting = get_payout(payout.id)
        left = datetime.now(UTC)

    sent = get_payout(payout.id)
    assert len(stand.truth()) == 1
    assert not given_up, "and then it left"
    assert (waiting.submission, sent.submission) == (SubmissionState.UNSENT, SubmissionState.ACCEPTED)
    assert sent.submitted_at is not None
    assert left - sent.submitted_at < LATER / 2, "it counts from when it leaves"


def test_what_is_found_due_again_while_it_waits_stands_in_line_once(stand: Stand) -> None:
    integration = an_integration_at(stand, "paycore")
    payouts = [an_unsent_payout(integration) for _ in range(2)]

    with a_full_line(integration):
        for _ in range(5):
            submit_each([payout.id for payout in payouts])
        waiting = len(asyncio.all_tasks(outside()._loop)) - MOST_PER_INTEGRATION

    assert waiting == len(payouts)
    assert [submissions(stand, payout) for payout in payouts] == [1, 1]


def test_a_switch_holds_what_waits_in_line(stand: Stand) -> None:
    integration = an_integration_at(stand, "paycore")
    payout = an_unsent_payout(integration)

    with a_full_line(integration):
        submit(payout.id)
        with transaction() as session:
            now = datetime.now(UTC)
            thrown = throw(session, SwitchScope.EVERYTHING, None, reason="stop", by="cli", until=None, now=now)

    assert (thrown.parked, thrown.on_their_way) == (1, [])
    assert get_payout(payout.id).submission == SubmissionState.UNSENT
    assert submissions(stand, payout) == 0


def test_of_several_payouts_one_that_stumbles_keeps_no_other_from_leaving(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    integration = an_integration_at(stand, "paycore")
    first, second, third = (an_unsent_payout(integration) for _ in range(3))
    begin = workers.submit.begin

    def stumbles(session: object, payout_id: str, *rest: object) -> object:
        if payout_id == second.id:
            raise OperationalError("SELECT", {}, Exception("away"))
        return begin(session, payout_id, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(workers.submit, "begin", stumbles)

    with capture_logs():
        submit_each([first.id, second.id, third.id])
        wait_until(lambda: get_payout(third.id).submission == SubmissionState.ACCEPTED)
        wait_until(lambda: not asyncio.all_tasks(outside()._loop))

    found = [get_payout(payout.id).submission for payout in (first, second, third)]
    assert found == [SubmissionState.ACCEPTED, SubmissionState.UNSENT, SubmissionState.ACCEPTED]


@pytest.mark.parametrize("name", [name for name in NAMES if connector_class(name).SUPPORTS_PAYOUTS])
def test_a_window_is_far_longer_than_it_takes_from_beginning_to_leaving(name: str) -> None:
    longest = timedelta(milliseconds=LOCK_TIMEOUT_MS) + 2 * timedelta(seconds=TIMEOUT_SECONDS)

    assert 10 * longest < connector_class(name).VISIBILITY_WINDOW
