"""Redelivering one event: sent at once, out of every queue, and never twice at a time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlmodel import select

from models.audit import AuditLine
from models.database import transaction
from models.endpoint import Endpoint
from models.outbox import Delivery, DeliveryState
from payouts import endpoints
from payouts.claiming import claim, successors
from payouts.create import Refused
from payouts.deliveries import Finished, Outcome
from payouts.recording import record
from payouts.redeliver import Redelivered, redeliver
from payouts.sight import EVERYTHING, Sight
from tests.concurrency import at_once
from tests.factories import an_endpoint, an_organisation
from tests.payouts.missed import STEPS, a_history, close, deliveries

pytestmark = pytest.mark.usefixtures("database")


def now() -> datetime:
    return datetime.now(UTC)


def again(delivery_id: str, sight: Sight = EVERYTHING) -> Redelivered:
    with transaction() as session:
        return redeliver(session, sight, delivery_id, actor="cli:ada", now=now())


def claimed(ids: Sequence[str]) -> list[int]:
    """Return the sequences of those that may be attempted now."""
    with transaction() as session:
        return sorted(
            session.get_one(Delivery, one.id).sequence
            for one in claim(session, ids, now() + timedelta(seconds=1)).claimed
        )


def postpone(endpoint: Endpoint) -> None:
    """Let everything open wait for its retry."""
    with transaction() as session:
        later = text("UPDATE delivery SET next_attempt_at = now() + interval '10 hours' WHERE endpoint_id = :endpoint")
        session.connection().execute(later, {"endpoint": endpoint.id})


def test_a_delivered_event_is_sent_again_as_a_new_delivery_of_the_same_event() -> None:
    endpoint = an_endpoint()
    a_history(*STEPS)
    first, *_ = close("delivered", sequence=1)

    redelivered = again(first)

    original, fresh = (one for one in deliveries(endpoint) if one.sequence == 1)
    assert redelivered.is_new
    assert redelivered.deliveries == [redelivered.id] == [fresh.id]
    assert (fresh.event_id, fresh.redelivery_of, fresh.attempts) == (original.event_id, original.id, 0)
    assert original.state == DeliveryState.DELIVERED


def test_it_neither_waits_for_others_of_its_payout_nor_holds_them_up() -> None:
    endpoint = an_endpoint()
    a_history(*STEPS)
    first, *_ = close("delivered", sequence=1)
    everything = [one.id for one in deliveries(endpoint)]

    redelivered = again(first)

    assert claimed([*everything, redelivered.id]) == [1, 2]


def test_one_that_fails_again_leaves_the_queue_as_it_was() -> None:
    endpoint = an_endpoint()
    a_history(*STEPS)
    (first,) = close("delivered", sequence=1)
    redelivered = again(first)
    with transaction() as session:
        (attempt,) = claim(session, [redelivered.id], now() + timedelta(seconds=1)).claimed
    with transaction() as session:
        record(session, [Finished(attempt, Outcome.UNREACHABLE, now(), 5)], now())

    with transaction() as session:
        heads = successors(session, [Finished(attempt, Outcome.UNREACHABLE, now(), 5)], now())

    assert heads == []
    assert claimed([one.id for one in deliveries(endpoint)]) == [2]


def test_a_dead_one_no_longer_waits_for_a_person_once_it_is_redelivered() -> None:
    endpoint = an_endpoint()
    a_history()
    (dead,) = close("dead")

    again(dead)

    states = {one.id: one.state for one in deliveries(endpoint)}
    assert states.pop(dead) == DeliveryState.REPLACED
    assert list(states.values()) == [DeliveryState.OPEN]


def test_one_that_waits_for_its_retry_is_brought_forward_with_those_it_waits_for() -> None:
    endpoint = an_endpoint()
    a_history(*STEPS)
    postpone(endpoint)
    owed = deliveries(endpoint)

    redelivered = again(owed[1].id)

    assert not redelivered.is_new
    assert redelivered.id == owed[1].id
    assert set(redelivered.deliveries) == {owed[0].id, owed[1].id}
    assert len(deliveries(endpoint)) == 4
    assert claimed([one.id for one in owed]) == [1]
    assert deliveries(endpoint)[2].next_attempt_at > now() + timedelta(hours=9)


def test_one_that_is_being_attempted_is_left_alone() -> None:
    endpoint = an_endpoint()
    a_history()
    (delivery,) = deliveries(endpoint)
    assert claimed([delivery.id]) == [1]

    redelivered = again(delivery.id)

    assert redelivered.deliveries == []
    assert claimed([delivery.id]) == []


def test_asking_twice_makes_one_new_delivery() -> None:
    endpoint = an_endpoint()
    a_history()
    (delivered,) = close("delivered")

    first, second = again(delivered), again(delivered)

    assert (second.id, second.is_new) == (first.id, False)
    assert len(deliveries(endpoint)) == 2


def test_asking_twice_at_once_makes_one_new_delivery() -> None:
    endpoint = an_endpoint()
    a_history()
    (delivered,) = close("delivered")

    both = at_once(*[lambda: again(delivered)] * 4)

    assert len({one.id for one in both}) == 1
    assert len(deliveries(endpoint)) == 2


def test_what_cannot_be_sent_is_refused_with_the_reason() -> None:
    endpoint, mine = an_endpoint(), Sight(an_organisation().id, test_mode=False)
    a_history()
    (delivered,) = close("delivered")

    def refusal() -> str:
        with pytest.raises(Refused) as refused:
            again(delivered, mine)
        return refused.value.code

    with transaction() as session:
        endpoints.disable(session, session.get_one(Endpoint, endpoint.id), actor="cli:ada", now=now())
    assert refusal() == "endpoint_disabled"
    with transaction() as session:
        endpoints.enable(session, session.get_one(Endpoint, endpoint.id), actor="cli:ada", now=now())
        session.connection().execute(text("UPDATE payout_event SET payload = NULL"))
    assert refusal() == "event_pruned"
    with transaction() as session:
        endpoints.delete(session, session.get_one(Endpoint, endpoint.id), actor="cli:ada", now=now())
    assert refusal() == "endpoint_deleted"
    assert len(deliveries(endpoint)) == 1


@pytest.mark.parametrize("test_mode", [True, False])
def test_another_organisations_delivery_or_one_of_the_other_mode_does_not_exist(*, test_mode: bool) -> None:
    an_endpoint()
    a_history()
    (delivered,) = close("delivered")
    stranger = Sight(an_organisation("Acme" if test_mode else "Globex").id, test_mode)

    for delivery_id in (delivered, "dlv_nobody's", "\0"):
        with pytest.raises(Refused) as refused:
            again(delivery_id, stranger)
        assert refused.value.code == "unknown_delivery"


def test_who_asked_is_on_record() -> None:
    an_endpoint()
    a_history()
    (delivered,) = close("delivered")

    redelivered = again(delivered)

    with transaction() as session:
        line = session.exec(select(AuditLine).where(AuditLine.action == "delivery.redelivered")).one()
    assert (line.actor, line.entity) == ("cli:ada", delivered)
    assert line.after is not None
    assert line.after["delivery"] == redelivered.id
