"""Handing payouts over: once, whatever happens to the answer."""

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time
from structlog.testing import capture_logs

import connectors.paycore
import connectors.zopay
from connectors._base import Http, Memento, Order, Submission
from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout, SubmissionState
from models.sealed import seal
from reconciler.poll import poll_due
from tests.concurrency import wait_until
from tests.factories import a_payout, an_endpoint, an_integration, get_deliveries, get_events, get_payout
from tests.sandbox.stand import Stand
from tests.servers import a_process
from tests.workers.queued import make_due, messages
from tests.workers.sandboxes import an_integration_at, an_unsent_payout, submissions
from workers.broker import broker
from workers.outside import outside
from workers.poll import poll
from workers.submit import send_submit, submit

NAMES = ("mollie", "fedapay", "paycore")
FOUND_BY_OUR_KEY = ("mollie", "paycore")
"""Gateways of which a lost answer can be asked about by our key, and whose payouts start by themselves."""


def until_it_is(state: SubmissionState, payout: Payout) -> Payout:
    wait_until(lambda: get_payout(payout.id).submission == state)
    return get_payout(payout.id)


@pytest.mark.parametrize("name", NAMES)
def test_a_payout_is_handed_over_and_its_reference_learnt(stand: Stand, name: str) -> None:
    payout = an_unsent_payout(an_integration_at(stand, name))

    submit(payout.id)

    accepted = until_it_is(SubmissionState.ACCEPTED, payout)
    assert accepted.gateway_reference in [one["reference"] for one in stand.truth()]
    assert submissions(stand, payout) == 1


@pytest.mark.parametrize("name", FOUND_BY_OUR_KEY)
def test_a_lost_answer_is_unknown_and_a_poll_by_our_key_finds_it_accepted_once(stand: Stand, name: str) -> None:
    stand.behave(timeout_after_accept=1)
    payout = an_unsent_payout(an_integration_at(stand, name))

    with capture_logs():
        submit(payout.id)
        unknown = until_it_is(SubmissionState.UNKNOWN, payout)
    submit(payout.id)  # whoever tries again is stopped
    stand.behave(timeout_after_accept=0)
    poll([payout.id])

    accepted = until_it_is(SubmissionState.ACCEPTED, payout)
    assert unknown.next_poll_at
    assert accepted.gateway_reference
    assert submissions(stand, payout) == 1


def test_a_payout_that_was_created_and_never_started_is_found_and_started(stand: Stand) -> None:
    stand.behave(timeout_after_accept=1)
    payout = an_unsent_payout(an_integration_at(stand, "fedapay"))

    with capture_logs():
        submit(payout.id)
        until_it_is(SubmissionState.UNKNOWN, payout)
    stand.behave(timeout_after_accept=0)
    poll([payout.id])
    found = until_it_is(SubmissionState.UNSENT, payout)
    submit(payout.id)

    started = until_it_is(SubmissionState.ACCEPTED, payout)
    assert found.gateway_reference == started.gateway_reference == stand.truth()[0]["reference"]
    wait_until(lambda: stand.truth()[0]["fate_status"] == "delivered")
    assert submissions(stand, payout) == 1


def test_what_has_to_be_prepared_is_prepared_and_handed_over(stand: Stand) -> None:
    payout = an_unsent_payout(an_integration_at(stand, "zopay"))

    submit(payout.id)

    accepted = until_it_is(SubmissionState.ACCEPTED, payout)
    assert accepted.gateway_reference == stand.truth()[0]["reference"]
    assert accepted.memento


def test_a_refused_preparation_is_rejected_and_failed(stand: Stand) -> None:
    an_endpoint()
    payout = an_unsent_payout(an_integration_at(stand, "zopay"))
    _change_details(payout, {"external_ref": "unknown-7", "destination": "TXinvented"})

    submit(payout.id)

    rejected = until_it_is(SubmissionState.REJECTED, payout)
    assert (rejected.status, rejected.failure_code) == (PayoutStatus.FAILED, "external_ref_unknown")
    assert len(get_deliveries(payout)) == 2
    assert stand.truth() == []


def test_a_preparation_that_fails_leaves_it_unsent_and_due_again(stand: Stand) -> None:
    stand.behave(refuse=1)
    payout = an_unsent_payout(an_integration_at(stand, "zopay"))

    with capture_logs():
        submit(payout.id)
        wait_until(lambda: get_payout(payout.id).poll_failures == 1)

    unsent = get_payout(payout.id)
    assert (unsent.submission, unsent.poll_failure) == (SubmissionState.UNSENT, "unavailable: answered 503")
    assert unsent.next_poll_at is not None
    assert unsent.next_poll_at > datetime.now(UTC)


def test_a_surprise_while_preparing_leaves_it_unsent(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stumbles(self: object, order: Order, http: Http) -> Memento:
        raise ZeroDivisionError

    monkeypatch.setattr(connectors.zopay.ZoPay, "prepare", stumbles)
    payout = an_unsent_payout(an_integration_at(stand, "zopay"))

    with capture_logs():
        submit(payout.id)
        wait_until(lambda: get_payout(payout.id).poll_failures == 1)

    assert get_payout(payout.id).submission == SubmissionState.UNSENT


def test_a_payout_submitted_many_times_at_once_goes_out_once(stand: Stand) -> None:
    payout = an_unsent_payout(an_integration_at(stand, "paycore"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(submit, [payout.id] * 20))
    until_it_is(SubmissionState.ACCEPTED, payout)

    assert submissions(stand, payout) == 1


def test_a_positive_refusal_is_rejected_and_failed(stand: Stand) -> None:
    payout = an_unsent_payout(an_integration_at(stand, "paycore"))
    with transaction() as session:
        session.get_one(Payout, payout.id).details = None

    submit(payout.id)

    rejected = until_it_is(SubmissionState.REJECTED, payout)
    assert (rejected.status, rejected.failure_code) == (PayoutStatus.FAILED, "missing_detail")
    assert submissions(stand, payout) == 0


def test_a_gateway_that_cannot_be_reached_leaves_it_unsent_and_due_again(database: None) -> None:
    integration = an_integration(
        "paycore", base_url="http://127.0.0.1:9", credentials={"account_id": "a", "api_key": "b"}
    )
    payout = an_unsent_payout(integration)

    with capture_logs():
        submit(payout.id)
        wait_until(lambda: get_payout(payout.id).poll_failures == 1)

    unsent = get_payout(payout.id)
    assert unsent.submission == SubmissionState.UNSENT
    assert unsent.next_poll_at is not None
    assert unsent.next_poll_at > datetime.now(UTC)


def test_what_was_queued_often_while_nobody_worked_is_tried_once(database: None) -> None:
    broker.flush_all()
    integration = an_integration(
        "paycore", base_url="http://127.0.0.1:9", credentials={"account_id": "a", "api_key": "b"}
    )
    payout = an_unsent_payout(integration)
    for _ in range(5):
        make_due(payout)
        poll_due()

    waiting = messages("submit")
    with capture_logs():
        for message in waiting:
            submit(*message)
            wait_until(lambda: not asyncio.all_tasks(outside()._loop))

    assert len(waiting) == 5
    assert (get_payout(payout.id).poll_failures, get_payout(payout.id).poll_step) == (1, 1)


def test_a_surprise_after_the_request_may_have_left_is_unknown_not_unsent(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stumbles(self: object, order: Order, http: Http) -> Submission:
        raise ZeroDivisionError

    monkeypatch.setattr(connectors.paycore.PayCore, "submit", stumbles)
    payout = an_unsent_payout(an_integration_at(stand, "paycore"))

    with capture_logs():
        submit(payout.id)
        until_it_is(SubmissionState.UNKNOWN, payout)


def test_sending_is_on_record_before_the_request_leaves(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    original = connectors.paycore.PayCore.submit

    async def look_first(self: Any, order: Order, http: Http) -> Submission:
        seen.append((await asyncio.to_thread(get_payout, payout.id)).submission)
        return await original(self, order, http)

    monkeypatch.setattr(connectors.paycore.PayCore, "submit", look_first)
    payout = an_unsent_payout(an_integration_at(stand, "paycore"))

    submit(payout.id)
    until_it_is(SubmissionState.ACCEPTED, payout)

    assert seen == [SubmissionState.SENDING]


def test_what_the_gateway_has_already_is_not_submitted(stand: Stand) -> None:
    payout = a_payout(an_integration_at(stand, "paycore"))

    submit(payout.id)

    assert submissions(stand, payout) == 0


def test_the_partner_is_owed_what_the_answer_said(stand: Stand) -> None:
    an_endpoint()
    payout = an_unsent_payout(an_integration_at(stand, "fedapay"))

    submit(payout.id)
    until_it_is(SubmissionState.ACCEPTED, payout)

    assert len(get_deliveries(payout)) == len(get_events(payout)) >= 1


def test_a_worker_killed_between_request_and_answer_leaves_it_asked_about_and_never_sent_again(stand: Stand) -> None:
    stand.behave(slow=1, slow_seconds=[2, 2])
    payout = an_unsent_payout(an_integration_at(stand, "paycore"))
    with a_process("-m", "workers") as worker:
        send_submit(payout.id)
        wait_until(lambda: submissions(stand, payout) == 1)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    found = get_payout(payout.id).submission
    stand.behave(slow=0)

    submit(payout.id)
    make_due(payout)
    poll_due()
    queued = (broker.client.llen("ratchet:submit"), broker.client.llen("ratchet:poll"))
    poll([payout.id])

    assert until_it_is(SubmissionState.ACCEPTED, payout).gateway_reference
    assert found == SubmissionState.SENDING
    assert queued == (0, 1)
    assert submissions(stand, payout) == 1


def test_a_worker_killed_between_a_paid_quote_and_its_answer_leaves_what_recovers_the_payout(stand: Stand) -> None:
    stand.behave(slow=1, slow_seconds=[1, 1])
    payout = an_unsent_payout(an_integration_at(stand, "zopay"))
    with a_process("-m", "workers") as worker:
        send_submit(payout.id)
        wait_until(lambda: len(stand.truth()) == 1)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    found = get_payout(payout.id)
    stand.behave(slow=0)

    submit(payout.id)
    with freeze_time(datetime.now(UTC) + timedelta(minutes=3), tick=True, real_asyncio=True):
        poll([payout.id])  # by now the quote has run out and can pay no more
        recovered = until_it_is(SubmissionState.ACCEPTED, payout)

    (truth,) = stand.truth()
    assert (found.submission, found.gateway_reference) == (SubmissionState.SENDING, None)
    assert recovered.gateway_reference == truth["reference"]
    assert truth["submissions"] == 1


def _change_details(payout: Payout, details: dict[str, str]) -> None:
    with transaction() as session:
        session.get_one(Payout, payout.id).details = seal(details)
