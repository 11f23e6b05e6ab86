"""The apply actor: one poison event, a queue that is away, a database that is away."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
import redis
from sqlalchemy import text
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from sqlmodel import Session
from structlog.testing import capture_logs

import workers.apply
from models.database import transaction
from models.inbox import InboxState
from models.integration import Integration
from models.lifecycle import PayoutStatus
from models.outbox import Carrier
from payouts.apply import Applied, apply_events
from payouts.reapply import reapply
from reconciler.sweep import sweep_outbox
from tests.factories import (
    a_payout,
    an_endpoint,
    an_inbox_event,
    an_integration,
    get_deliveries,
    get_inbox_event,
    get_payout,
)
from tests.receiver.doors import news
from workers.apply import LARGEST_MESSAGE, apply, send_apply
from workers.broker import broker


@pytest.fixture
def integration(database: None) -> Integration:
    broker.flush_all()
    return an_integration()


def some_events(integration: Integration, number: int) -> list[int]:
    """Return events that say `delivered` about a payout each."""
    for n in range(number):
        a_payout(integration, reference=f"cpoi_{n}", amount_minor=100_050, currency="USD")
    return [an_inbox_event(integration, news(f"cpoi_{n}")) for n in range(number)]


@pytest.mark.parametrize("number", [1, 2, 21])
@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError])
def test_one_poison_event_is_set_aside_and_its_batch_goes_on(
    integration: Integration, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    ids = some_events(integration, number)
    poison = ids[number // 3]

    def stumbles(session: Session, batch: Sequence[int], now: datetime, carrier: Carrier | None = None) -> Applied:
        applied = apply_events(session, batch, now, carrier)
        if poison in batch:
            raise error
        return applied

    monkeypatch.setattr(workers.apply, "apply_events", stumbles)

    with capture_logs() as lines:
        apply(ids)

    states = {event_id: get_inbox_event(event_id).state for event_id in ids}
    assert states.pop(poison) == InboxState.POISON
    assert set(states.values()) <= {InboxState.APPLIED}
    assert get_inbox_event(poison).detail == f"apply: {error.__name__}"
    assert [line["inbox_event"] for line in lines if line["event"] == "inbox.poison"] == [poison]


def test_a_row_that_postgresql_itself_refuses_is_set_aside_and_its_batch_goes_on(integration: Integration) -> None:
    ids = some_events(integration, 8)
    with transaction() as session:
        session.connection().execute(
            text("ALTER TABLE payout ADD CONSTRAINT odd CHECK (gateway_reference <> 'cpoi_3' OR status = 'pending')")
        )
    try:
        with capture_logs():
            apply(ids)
    finally:
        with transaction() as session:
            session.connection().execute(text("ALTER TABLE payout DROP CONSTRAINT odd"))

    states = [get_inbox_event(event_id).state for event_id in ids]
    assert states == [InboxState.POISON if n == 3 else InboxState.APPLIED for n in range(8)]


def test_a_poison_event_that_is_mended_can_be_applied_again(
    integration: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = some_events(integration, 2)
    with monkeypatch.context() as broken, capture_logs():
        broken.setattr(workers.apply, "apply_events", _raises(ValueError()))
        apply(ids)
    with transaction() as session:
        again = reapply(session, ids, by="cli:ada", now=datetime.now(UTC))

    apply(again)

    assert [get_inbox_event(event_id).state for event_id in ids] == [InboxState.APPLIED] * 2


def test_a_database_that_is_away_leaves_the_events_new(
    integration: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = some_events(integration, 3)
    monkeypatch.setattr(workers.apply, "apply_events", _raises(OperationalError("SELECT", {}, Exception("away"))))

    with pytest.raises(OperationalError):
        apply(ids)

    assert {get_inbox_event(event_id).state for event_id in ids} == {InboxState.NEW}


@pytest.mark.parametrize("error", [ProgrammingError, InterfaceError, InternalError, NotSupportedError])
def test_a_fault_of_ours_in_the_database_blames_no_event(
    integration: Integration, monkeypatch: pytest.MonkeyPatch, error: type[DBAPIError]
) -> None:
    ids = some_events(integration, 3)
    monkeypatch.setattr(workers.apply, "apply_events", _raises(error("SELECT", {}, Exception("ours"))))

    with pytest.raises(error):
        apply(ids)

    assert {get_inbox_event(event_id).state for event_id in ids} == {InboxState.NEW}


def test_a_schema_behind_the_code_sets_nothing_aside_and_once_it_is_there_all_of_it_applies(
    integration: Integration,
) -> None:
    ids = some_events(integration, 3)
    _rename("observation", "observation_of_yesterday")
    try:
        with pytest.raises(ProgrammingError):
            apply(ids)
        meanwhile = {get_inbox_event(event_id).state for event_id in ids}
    finally:
        _rename("observation_of_yesterday", "observation")

    apply(ids)

    assert meanwhile == {InboxState.NEW}
    assert {get_inbox_event(event_id).state for event_id in ids} == {InboxState.APPLIED}


def _rename(table: str, name: str) -> None:
    with transaction() as session:
        session.connection().execute(text(f"ALTER TABLE {table} RENAME TO {name}"))


def test_an_event_is_applied_once_however_often_it_is_queued(integration: Integration) -> None:
    (event,) = some_events(integration, 1)
    an_endpoint()

    for _ in range(3):
        apply([event, event])

    delivered = [d for d in _deliveries_of("cpoi_0") if d.sequence == 2]
    assert len(delivered) == 1


def test_deliveries_are_queued_after_the_commit(integration: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    an_endpoint()
    ids = some_events(integration, 3)
    visible: list[int] = []

    def send(deliveries: Sequence[str]) -> None:
        with transaction() as other:
            query = text("SELECT count(*) FROM delivery WHERE id = ANY(:ids)")
            visible.append(other.connection().execute(query, {"ids": list(deliveries)}).scalar_one())

    monkeypatch.setattr(workers.apply, "send_deliver", send)

    apply(ids)

    assert visible == [3]


def test_without_redis_it_is_applied_and_the_sweep_queues_the_deliveries_later(
    integration: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_endpoint()
    ids = some_events(integration, 1)
    monkeypatch.setattr(workers.apply, "send_deliver", _raises(redis.ConnectionError("away")))

    with capture_logs() as lines:
        apply(ids)
    with transaction() as session:
        session.connection().execute(text("UPDATE delivery SET next_attempt_at = now() - interval '1 minute'"))
    sweep_outbox()

    assert get_inbox_event(ids[0]).state == InboxState.APPLIED
    assert "queue.away" in [line["event"] for line in lines]
    assert broker.client.llen("ratchet:deliver") == 1


def test_a_long_list_is_several_messages(integration: Integration) -> None:
    send_apply(list(range(2 * LARGEST_MESSAGE + 1)))

    assert broker.client.llen("ratchet:apply") == 3


def test_an_empty_list_is_no_message(integration: Integration) -> None:
    send_apply([])
    apply([])

    assert broker.client.llen("ratchet:apply") == 0


def test_events_that_waited_for_a_reference_are_queued_when_it_comes(integration: Integration) -> None:
    early = an_inbox_event(integration, news("cpoi_early", "processing", reference_id="order-early"))
    apply([early])
    payout = a_payout(integration, reference="cpoi_early", amount_minor=100_050, currency="USD")

    apply([early])

    assert get_inbox_event(early).state == InboxState.APPLIED
    assert get_payout(payout.id).status == PayoutStatus.INITIATED


def _raises(error: Exception) -> object:
    def raising(*_: object) -> None:
        raise error

    return raising


def _deliveries_of(reference: str) -> list[object]:
    with transaction() as session:
        payout_id = (
            session.connection()
            .execute(text("SELECT id FROM payout WHERE gateway_reference = :reference"), {"reference": reference})
            .scalar_one()
        )
    return list(get_deliveries(get_payout(payout_id)))
