"""Asking gateways: what they say goes through the same door, and what they do not say is counted."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

import connectors.paycore
import workers.poll
from connectors._base import GatewayUnavailable, Http, NotFound, PayoutUpdate
from models.database import transaction
from models.integration import Integration
from models.lifecycle import PayoutStatus
from models.payout import Payout, SubmissionState
from payouts.ask import Question
from reconciler.poll import poll_due
from telemetry import metrics
from tests.concurrency import wait_until
from tests.factories import (
    a_payout,
    an_endpoint,
    an_integration,
    get_deliveries,
    get_events,
    get_observations,
    get_payout,
)
from tests.payouts.silent import change
from tests.sandbox.stand import Stand
from tests.workers.queued import make_due, messages
from tests.workers.sandboxes import an_integration_at, an_unsent_payout
from workers.broker import broker
from workers.poll import poll, send_poll
from workers.submit import submit

NAMES = ("mollie", "fedapay", "paycore")


def a_submitted_payout(stand: Stand, name: str, words: str = "") -> Payout:
    payout = an_unsent_payout(an_integration_at(stand, name), words)
    submit(payout.id)
    wait_until(lambda: get_payout(payout.id).submission == SubmissionState.ACCEPTED)
    return payout


def ask(payout: Payout) -> Payout:
    """Ask once and wait until the answer, or the silence, is on record."""
    before = get_payout(payout.id).polls
    poll([payout.id])
    wait_until(lambda: get_payout(payout.id).polls > before)
    return get_payout(payout.id)


@pytest.mark.parametrize("fate", ["delivered", "failed", "returned"])
@pytest.mark.parametrize("name", NAMES)
def test_a_silent_gateway_is_asked_until_its_payout_is_where_it_really_is(stand: Stand, name: str, fate: str) -> None:
    payout = a_submitted_payout(stand, name, f"#fate={fate} #webhooks=none")
    wait_until(lambda: all(one["is_over"] for one in stand.truth()))
    (truth,) = stand.truth()

    asked = ask(payout)

    assert asked.status == truth["fate_status"]
    assert (asked.last_evidence_source, asked.poll_failures) == ("poll", 0)


def test_an_answer_without_news_moves_nothing_and_backs_off(stand: Stand) -> None:
    payout = a_submitted_payout(stand, "paycore", "#fate=stuck")
    wait_until(lambda: all(one["is_over"] for one in stand.truth()))
    first = ask(payout)
    events = len(get_events(payout))

    second = ask(payout)

    assert (second.status, len(get_events(payout))) == (first.status, events)
    assert second.poll_step == first.poll_step + 1
    assert get_observations(payout)[-1].effect == "stale"
    assert second.next_poll_at
    assert second.next_poll_at > datetime.now(UTC)


def test_news_from_a_poll_is_owed_to_the_partner_and_queued(stand: Stand) -> None:
    an_endpoint()
    payout = a_submitted_payout(stand, "paycore")
    wait_until(lambda: all(one["is_over"] for one in stand.truth()))
    broker.flush_all()
    before = len(get_deliveries(payout))

    ask(payout)

    assert len(get_deliveries(payout)) == before + 1
    wait_until(lambda: broker.client.llen("ratchet:deliver") == 1)


def test_what_was_taken_anew_while_it_waited_for_its_turn_is_not_asked_about(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    payout = a_submitted_payout(stand, "paycore", "#fate=stuck")
    line: list[Coroutine[Any, Any, None]] = []
    lease = datetime.now(UTC) + timedelta(seconds=30)
    _plan(payout, lease)
    with monkeypatch.context() as full:
        full.setattr(workers.poll, "outside", lambda: SimpleNamespace(start=lambda _, call: line.append(call)))
        poll([payout.id], lease.isoformat())
    _plan(payout, lease + timedelta(seconds=30))

    asyncio.run(line[0])

    assert get_payout(payout.id).polls == 0


def _plan(payout: Payout, at: datetime) -> None:
    with transaction() as session:
        session.get_one(Payout, payout.id).next_poll_at = at


def test_a_gateway_that_is_away_teaches_nothing_and_is_counted(database: None) -> None:
    integration = an_integration(
        "paycore", base_url="http://127.0.0.1:9", credentials={"account_id": "a", "api_key": "b"}
    )
    payout = a_payout(integration)

    asked = ask(payout)

    assert (asked.status, asked.poll_failures) == (PayoutStatus.PENDING, 1)
    assert str(asked.poll_failure).startswith("unavailable:")


@pytest.mark.parametrize(
    ("column", "failure"),
    [
        ("sealed = 'lost'", "unusable: sealed with an unknown key"),
        ("connector = 'gone'", "unusable: no connector 'gone'"),
    ],
)
def test_an_integration_that_cannot_be_opened_is_a_poll_in_vain(database: None, column: str, failure: str) -> None:
    payout = a_payout()
    change(f"UPDATE integration SET {column}")  # noqa: S608
    counted = metrics.POLLS.labels("unusable")
    before = counted._value.get()

    with capture_logs():
        asked = ask(payout)

    assert (asked.polls, asked.poll_step, asked.poll_failures) == (1, 1, 1)
    assert str(asked.poll_failure).startswith(failure)
    assert asked.next_poll_at
    assert asked.next_poll_at > datetime.now(UTC) + timedelta(minutes=3)
    assert counted._value.get() == before + 1


def test_what_could_not_be_asked_and_was_queued_often_is_counted_once(database: None) -> None:
    broker.flush_all()
    payout = a_payout()
    change("UPDATE integration SET sealed = 'lost'")
    for _ in range(5):
        make_due(payout)
        poll_due()

    with capture_logs():
        for message in messages("poll"):
            poll(*message)

    assert (get_payout(payout.id).polls, get_payout(payout.id).poll_step) == (1, 1)


def test_a_gateway_that_refuses_to_answer_is_counted_too(stand: Stand) -> None:
    payout = a_submitted_payout(stand, "mollie")
    stand.behave(refuse=1)

    asked = ask(payout)

    assert asked.poll_failures == 1
    assert str(asked.poll_failure).startswith("unavailable:")


def test_an_unknown_payout_stays_unknown_within_the_visibility_window(stand: Stand) -> None:
    payout = _of_unknown_outcome(stand, timedelta(minutes=1))

    asked = ask(payout)

    assert (asked.submission, asked.poll_failure) == (SubmissionState.UNKNOWN, "not_found")


def test_an_unknown_payout_was_never_received_once_the_window_is_over(stand: Stand) -> None:
    payout = _of_unknown_outcome(stand, timedelta(days=1))

    asked = ask(payout)

    assert asked.submission == SubmissionState.NOT_RECEIVED
    assert asked.status == PayoutStatus.PENDING


def _of_unknown_outcome(stand: Stand, ago: timedelta) -> Payout:
    payout = an_unsent_payout(an_integration_at(stand, "paycore"))
    with transaction() as session:
        known = session.get_one(Payout, payout.id)
        known.submission, known.submitted_at = SubmissionState.UNKNOWN, datetime.now(UTC) - ago
    return payout


Answer = PayoutUpdate | NotFound | Exception


@pytest.fixture
def scripted(database: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Answer]:
    """Return what the gateway answers, by our order key."""
    answers: dict[str, Answer] = {}

    async def fetch(self: Any, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        answer = answers[order_key]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(connectors.paycore.PayCore, "fetch", fetch)
    broker.flush_all()
    return answers


def test_a_surprise_about_one_payout_does_not_take_its_batch_along(scripted: dict[str, Answer]) -> None:
    integration = an_integration()
    odd, fine = a_payout(integration), a_payout(integration)
    scripted[odd.order_key] = ZeroDivisionError()
    scripted[fine.order_key] = PayoutUpdate(
        reference=fine.gateway_reference, status=PayoutStatus.DELIVERED, said="processed"
    )

    with capture_logs():
        poll([odd.id, fine.id])
        wait_until(lambda: get_payout(fine.id).status == PayoutStatus.DELIVERED)

    assert get_payout(odd.id).poll_failure == "unavailable: ZeroDivisionError"


def test_a_gateway_that_asks_for_a_pause_gets_it(scripted: dict[str, Answer]) -> None:
    integration = an_integration()
    payout = a_payout(integration)
    scripted[payout.order_key] = GatewayUnavailable("429", retry_after=timedelta(minutes=7))

    asked_at = datetime.now(UTC)
    ask(payout)

    with transaction() as session:
        until = session.get_one(Integration, integration.id).polls_paused_until
    assert until is not None
    assert timedelta(minutes=6) < until - asked_at < timedelta(minutes=8)


def test_without_redis_the_news_of_a_poll_is_kept(scripted: dict[str, Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    an_endpoint()
    payout = a_payout()
    scripted[payout.order_key] = PayoutUpdate(reference=None, status=PayoutStatus.DELIVERED, said="processed")

    def away(_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("workers.apply.send_deliver", away)

    with capture_logs() as lines:
        ask(payout)
        wait_until(lambda: "queue.away" in [line["event"] for line in lines])

    assert get_payout(payout.id).status == PayoutStatus.DELIVERED
    assert len(get_deliveries(payout)) == 2


def test_what_was_queued_often_while_nobody_worked_is_asked_once(
    scripted: dict[str, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    integration = an_integration()
    payouts = [a_payout(integration) for _ in range(2)]
    scripted |= {payout.order_key: GatewayUnavailable("answered 503") for payout in payouts}
    asked: list[str] = []
    ask_all = workers.poll._ask

    def count(questions: Sequence[Question]) -> Coroutine[Any, Any, None]:
        asked.extend(question.payout_id for question in questions)
        return ask_all(questions)

    monkeypatch.setattr("workers.poll._ask", count)
    for _ in range(10):
        make_due(*payouts)
        poll_due()

    waiting = messages("poll")
    for message in waiting:
        poll(*message)
    wait_until(lambda: sum(get_payout(payout.id).polls for payout in payouts) == len(asked))

    assert len(waiting) == 10
    assert [get_payout(payout.id).poll_step for payout in payouts] == [1, 1]


def test_payouts_that_are_gone_are_nothing_to_ask_about(database: None) -> None:
    poll(["pay_gone"])
    poll([])


def test_a_batch_is_one_message(database: None) -> None:
    broker.flush_all()

    send_poll(["pay_1", "pay_2"], datetime.now(UTC))

    assert broker.client.llen("ratchet:poll") == 1
