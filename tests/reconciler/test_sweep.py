"""Committed work that was forgotten is queued again, and only that."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dramatiq
import pytest
from sqlalchemy import text

import reconciler.sweep
from models.database import transaction
from models.inbox import InboxState
from models.lifecycle import PayoutStatus
from models.outbox import DeliveryState
from models.payout import Payout
from reconciler.sweep import FORGOTTEN_AFTER, SWEPT_AGAIN_AFTER, match_unmatched, sweep_inbox, sweep_outbox
from tests.factories import (
    a_payout,
    an_endpoint,
    an_inbox_event,
    an_integration,
    get_deliveries,
    get_inbox_event,
    get_payout,
    say,
)
from tests.receiver.doors import news
from workers.apply import apply
from workers.broker import NAMESPACE, broker


@pytest.fixture(autouse=True)
def _empty(database: None) -> None:
    broker.flush_all()


def queued(queue: str) -> list[Any]:
    """Return the ids in a queue's messages, oldest first."""
    ids = []
    for key in reversed(broker.client.lrange(f"{NAMESPACE}:{queue}", 0, -1)):
        message = broker.client.hget(f"{NAMESPACE}:{queue}.msgs", key)
        ids += dramatiq.Message.decode(message).args[0]
    return ids


def _grow_older(table: str, column: str, by: timedelta) -> None:
    with transaction() as session:
        session.connection().execute(text(f"UPDATE {table} SET {column} = {column} - :by"), {"by": by})  # noqa: S608


def test_an_event_that_nobody_took_is_queued_again() -> None:
    event = an_inbox_event(an_integration(), news())
    _grow_older("inbox_new", "received_at", FORGOTTEN_AFTER)

    sweep_inbox()

    assert queued("apply") == [event]


def test_an_event_that_has_just_come_is_left_to_its_hint() -> None:
    an_inbox_event(an_integration(), news())

    sweep_inbox()

    assert queued("apply") == []


def test_a_long_queue_is_not_queued_a_second_time_every_second() -> None:
    event = an_inbox_event(an_integration(), news())
    _grow_older("inbox_new", "received_at", FORGOTTEN_AFTER)

    for _ in range(3):
        sweep_inbox()
    at_first = queued("apply")
    _grow_older("inbox_new", "swept_at", SWEPT_AGAIN_AFTER)
    sweep_inbox()

    assert at_first == [event]
    assert queued("apply") == [event, event]


@pytest.mark.parametrize("state", [state for state in InboxState if state is not InboxState.NEW])
def test_what_has_been_settled_is_not_swept(state: InboxState) -> None:
    an_inbox_event(an_integration(), news(), state=state)
    _grow_older("inbox_new", "received_at", timedelta(days=1))

    sweep_inbox()

    assert queued("apply") == []


def test_a_sweep_is_bounded_and_the_oldest_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler.sweep, "MOST", 3)
    integration = an_integration()
    events = [an_inbox_event(integration, news(f"cpoi_{n}")) for n in range(5)]
    _grow_older("inbox_new", "received_at", timedelta(minutes=1))

    sweep_inbox()
    at_first = queued("apply")
    sweep_inbox()

    assert sorted(at_first) == events[:3]
    assert sorted(queued("apply")) == events


def test_an_event_that_is_being_applied_is_not_waited_for() -> None:
    integration = an_integration()
    held, free = (an_inbox_event(integration, news(f"cpoi_{n}")) for n in range(2))
    _grow_older("inbox_new", "received_at", timedelta(minutes=1))

    with transaction() as other:
        other.connection().execute(text("SELECT FROM inbox_new WHERE event_id = :id FOR UPDATE"), {"id": held})
        sweep_inbox()

    assert queued("apply") == [free]


def test_a_delivery_whose_message_was_lost_is_queued_again() -> None:
    an_endpoint()
    payout = a_payout()
    _grow_older("delivery", "next_attempt_at", timedelta(seconds=2))

    sweep_outbox()

    assert queued("deliver") == [get_deliveries(payout)[0].id]


def test_only_the_oldest_open_delivery_of_a_payout_is_queued() -> None:
    an_endpoint()
    payout = a_payout()
    say(payout, PayoutStatus.DELIVERED)
    _grow_older("delivery", "next_attempt_at", timedelta(minutes=1))

    sweep_outbox()

    assert queued("deliver") == [get_deliveries(payout)[0].id]


@pytest.mark.parametrize(
    "change",
    [
        "next_attempt_at = now() + interval '1 minute'",
        "leased_until = now() + interval '30 seconds'",
        f"state = '{DeliveryState.DELIVERED}', closed_at = now()",
        f"state = '{DeliveryState.DEAD}', closed_at = now()",
    ],
)
def test_what_is_not_due_or_not_open_or_under_way_is_not_swept(change: str) -> None:
    an_endpoint()
    a_payout()
    _grow_older("delivery", "next_attempt_at", timedelta(minutes=1))
    with transaction() as session:
        session.connection().execute(text(f"UPDATE delivery SET {change}"))  # noqa: S608

    sweep_outbox()

    assert queued("deliver") == []


def test_a_disabled_endpoint_is_not_swept() -> None:
    an_endpoint(is_enabled=True)
    a_payout()
    _grow_older("delivery", "next_attempt_at", timedelta(minutes=1))
    with transaction() as session:
        session.connection().execute(text("UPDATE endpoint SET is_enabled = false"))

    sweep_outbox()

    assert queued("deliver") == []


def test_while_nobody_works_the_queue_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler.sweep, "LONGEST_BACKLOG", 5)
    an_endpoint()
    a_payout()
    _grow_older("delivery", "next_attempt_at", timedelta(minutes=1))

    for _ in range(50):
        sweep_outbox()

    assert broker.client.llen(f"{NAMESPACE}:deliver") == 6


def test_while_nobody_applies_the_queue_of_events_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler.sweep, "LONGEST_BACKLOG", 5)
    an_inbox_event(an_integration(), news())
    _grow_older("inbox_new", "received_at", FORGOTTEN_AFTER)

    for _ in range(50):
        sweep_inbox()
        _grow_older("inbox_new", "swept_at", SWEPT_AGAIN_AFTER)

    assert broker.client.llen(f"{NAMESPACE}:apply") == 6


def test_an_event_whose_payout_has_come_on_record_meanwhile_is_matched() -> None:
    integration = an_integration()
    event = an_inbox_event(integration, news("cpoi_early", "processing", reference_id="somebody-else"))
    apply([event])
    payout = a_payout(integration, reference=None, amount_minor=100_050, currency="USD")
    with transaction() as session:
        session.get_one(Payout, payout.id).gateway_reference = "cpoi_early"

    match_unmatched()
    apply(queued("apply"))

    assert get_inbox_event(event).state == InboxState.APPLIED
    assert get_payout(payout.id).status == PayoutStatus.INITIATED


def test_an_event_of_another_integration_is_not_matched() -> None:
    event = an_inbox_event(an_integration(), news("cpoi_early", reference_id="order-x"))
    apply([event])
    a_payout(an_integration(), reference="cpoi_early")

    match_unmatched()

    assert get_inbox_event(event).state == InboxState.UNMATCHED
    assert queued("apply") == []


def test_everything_redis_held_is_found_again_after_it_was_wiped() -> None:
    an_endpoint()
    integration = an_integration()
    payout = a_payout(integration, reference="cpoi_1", amount_minor=100_050, currency="USD")
    event = an_inbox_event(integration, news("cpoi_1"))
    broker.client.flushall()
    _grow_older("inbox_new", "received_at", timedelta(minutes=1))
    _grow_older("delivery", "next_attempt_at", timedelta(minutes=1))

    sweep_inbox()
    sweep_outbox()

    assert queued("apply") == [event]
    assert queued("deliver") == [get_deliveries(payout)[0].id]
    assert datetime.now(UTC) > get_deliveries(payout)[0].next_attempt_at
