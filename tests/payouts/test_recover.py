"""Recovery: everything an endpoint has missed, nothing that it has, in order, and from where it stood after a kill."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

import payouts.recover
from models.database import transaction
from models.endpoint import Endpoint
from models.lifecycle import PayoutStatus
from models.outbox import Delivery, DeliveryState
from models.recovery import Recovery, RecoveryState
from payouts import endpoints
from payouts.claiming import claim
from payouts.create import Refused
from payouts.recover import SETTLED_AFTER, find_recovery, list_recoveries, start, step
from payouts.sight import EVERYTHING, Sight
from tests.concurrency import at_once
from tests.factories import an_endpoint, an_organisation
from tests.payouts.missed import STEPS, a_history, close, deliveries

pytestmark = pytest.mark.usefixtures("database")

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
LATER = timedelta(seconds=1)


def begin(
    endpoint: Endpoint, since: datetime = LONG_AGO, sight: Sight = EVERYTHING, now: datetime | None = None
) -> Recovery:
    with transaction() as session:
        return start(session, sight, endpoint.id, since, actor="cli:ada", now=now or datetime.now(UTC) + LATER)


def get(recovery: Recovery) -> Recovery:
    with transaction() as session:
        return find_recovery(session, EVERYTHING, recovery.id)


def one_step(now: datetime) -> list[str] | None:
    with transaction() as session:
        stepped = step(session, now)
    return stepped and stepped.deliveries


def work_off(recovery: Recovery) -> list[str]:
    """Take steps until nothing is left; return what they owed."""
    now = recovery.until + SETTLED_AFTER
    owed: list[str] = []
    while (more := one_step(now)) is not None:
        owed += more
    return owed


def recovered(endpoint: Endpoint) -> list[Delivery]:
    return [one for one in deliveries(endpoint) if one.recovery_id]


@pytest.fixture(params=[1, 3, 500])
def _pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work with pages of all sizes: the result must be the same."""
    monkeypatch.setattr(payouts.recover, "EVENTS_IN_A_STEP", request.param)


@pytest.mark.usefixtures("_pages")
def test_what_died_is_owed_again_and_what_arrived_or_is_on_its_way_is_not() -> None:
    endpoint, other = an_endpoint(), an_endpoint()
    payout = a_history(*STEPS)
    close("delivered", endpoint=endpoint, sequence=1)
    close("dead", endpoint=endpoint, sequence=2)
    close("dead", endpoint=endpoint, sequence=3)
    close("dead", endpoint=other)

    recovery = begin(endpoint)
    owed = work_off(recovery)

    found = recovered(endpoint)
    assert [(one.sequence, one.state, one.payout_id) for one in found] == [
        (2, DeliveryState.OPEN, payout.id),
        (3, DeliveryState.OPEN, payout.id),
    ]
    assert {one.id for one in found} == set(owed)
    assert {one.sequence: one.state for one in deliveries(endpoint) if not one.recovery_id} == {
        1: DeliveryState.DELIVERED,
        2: DeliveryState.REPLACED,
        3: DeliveryState.REPLACED,
        4: DeliveryState.OPEN,
    }
    assert recovered(other) == []
    done = get(recovery)
    assert (done.state, done.examined, done.owed, done.pruned) == (RecoveryState.DONE, 4, 2, 0)
    assert done.finished_at is not None


@pytest.mark.usefixtures("_pages")
def test_an_endpoint_made_later_gets_the_history_that_it_subscribes_to() -> None:
    a_history(*STEPS)
    a_history(*STEPS)
    endpoint = an_endpoint(event_types=["payout.delivered", "payout.failed"])

    recovery = begin(endpoint)
    work_off(recovery)

    assert [one.sequence for one in recovered(endpoint)] == [4, 4]
    assert get(recovery).examined == 2


def test_what_was_missed_while_it_was_disabled_is_owed() -> None:
    endpoint = an_endpoint()
    with transaction() as session:
        endpoints.disable(session, session.get_one(Endpoint, endpoint.id), actor="a", now=datetime.now(UTC))
    a_history(*STEPS)
    assert deliveries(endpoint) == []
    with transaction() as session:
        endpoints.enable(session, session.get_one(Endpoint, endpoint.id), actor="a", now=datetime.now(UTC))

    work_off(begin(endpoint))

    assert [one.sequence for one in recovered(endpoint)] == [1, 2, 3, 4]


def test_recovered_events_stand_in_the_queue_of_their_payout_by_sequence() -> None:
    endpoint = an_endpoint()
    a_history(*STEPS)
    for sequence in (1, 2):
        close("dead", sequence=sequence)

    work_off(begin(endpoint))

    assert claimable(endpoint) == [1]
    close("delivered", sequence=1)
    assert claimable(endpoint) == [2]
    close("delivered", sequence=2)
    assert claimable(endpoint) == [3]


def claimable(endpoint: Endpoint) -> list[int]:
    ids = [one.id for one in deliveries(endpoint)]
    with transaction() as session:
        found = claim(session, ids, datetime.now(UTC) + timedelta(minutes=1)).claimed
        sequences = [session.get_one(Delivery, one.id).sequence for one in found]
        session.rollback()
    return sequences


def test_a_second_recovery_owes_nothing_more() -> None:
    endpoint = an_endpoint()
    a_history(*STEPS)
    close("dead")
    work_off(begin(endpoint))

    again = begin(endpoint)
    work_off(again)

    assert len(recovered(endpoint)) == 4
    assert get(again).owed == 0


def test_only_what_happened_since_is_looked_at() -> None:
    a_history(*STEPS)
    between = datetime.now(UTC)
    payout = a_history(PayoutStatus.INITIATED)
    endpoint = an_endpoint()

    work_off(begin(endpoint, since=between))

    assert [(one.payout_id, one.sequence) for one in recovered(endpoint)] == [(payout.id, 1), (payout.id, 2)]


def test_neither_another_organisations_events_nor_those_of_the_other_mode_are_owed() -> None:
    a_history(organisation="Globex")
    a_history(test_mode=True)
    mine = a_history()
    endpoint = an_endpoint()

    work_off(begin(endpoint))

    assert [one.payout_id for one in recovered(endpoint)] == [mine.id]


def test_events_whose_body_is_no_longer_kept_are_counted_and_not_owed() -> None:
    a_history(*STEPS)
    with transaction() as session:
        session.connection().execute(text("UPDATE payout_event SET payload = NULL WHERE sequence <= 2"))
    endpoint = an_endpoint()

    recovery = begin(endpoint)
    work_off(recovery)

    assert [one.sequence for one in recovered(endpoint)] == [3, 4]
    assert get(recovery).pruned == 2


def test_a_step_that_is_killed_leaves_no_trace_and_the_next_one_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payouts.recover, "EVENTS_IN_A_STEP", 2)
    a_history(*STEPS)
    endpoint = an_endpoint()
    recovery = begin(endpoint)
    now = recovery.until + SETTLED_AFTER
    one_step(now)
    before = get(recovery)

    with transaction() as session:
        step(session, now)
        session.rollback()

    assert get(recovery) == before
    assert len(recovered(endpoint)) >= 2
    work_off(recovery)
    assert sorted(one.sequence for one in recovered(endpoint)) == [1, 2, 3, 4]


def test_two_who_step_at_once_owe_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payouts.recover, "EVENTS_IN_A_STEP", 1)
    a_history(*STEPS)
    endpoint = an_endpoint()
    recovery = begin(endpoint)

    at_once(*[lambda: work_off(recovery)] * 3)
    work_off(recovery)

    assert sorted(one.sequence for one in recovered(endpoint)) == [1, 2, 3, 4]


def test_the_last_seconds_are_looked_at_when_every_transaction_of_them_is_over() -> None:
    a_history()
    endpoint = an_endpoint()
    recovery = begin(endpoint)

    assert one_step(recovery.until) == []
    a_history()  # begun before the endpoint was enabled, committed after the recovery was asked for
    with transaction() as session:
        session.connection().execute(text("DELETE FROM delivery"))
    assert one_step(recovery.until + LATER) is None
    assert get(recovery).state == RecoveryState.RUNNING
    work_off(recovery)

    assert len(recovered(endpoint)) == 2
    assert get(recovery).state == RecoveryState.DONE


def test_history_waits_while_the_endpoint_is_owed_a_lot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payouts.recover, "MOST_OPEN", 3)
    a_history(*STEPS)
    endpoint = an_endpoint()
    a_history(PayoutStatus.INITIATED, PayoutStatus.BROADCAST)
    recovery = begin(endpoint)

    work_off(recovery)
    assert recovered(endpoint) == []
    close("delivered")
    with transaction() as session:
        session.connection().execute(text("UPDATE recovery SET next_step_at = until"))
    work_off(recovery)

    assert len(recovered(endpoint)) == 4


def test_recoveries_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payouts.recover, "EVENTS_IN_A_STEP", 1)
    a_history(*STEPS)
    first, second = begin(an_endpoint()), begin(an_endpoint())
    moments = _moments(second.until + SETTLED_AFTER)

    with transaction() as session:
        turns = [step(session, next(moments)) for _ in range(4)]

    assert [turn and turn.recovery_id for turn in turns] == [first.id, second.id] * 2


def _moments(first: datetime) -> Iterator[datetime]:
    while True:
        first += timedelta(milliseconds=1)
        yield first


def test_it_stops_when_its_endpoint_is_disabled_meanwhile() -> None:
    endpoint = an_endpoint()
    recovery = begin(endpoint)
    with transaction() as session:
        endpoints.disable(session, session.get_one(Endpoint, endpoint.id), actor="a", now=datetime.now(UTC))

    work_off(recovery)

    assert get(recovery).state == RecoveryState.STOPPED


def test_one_at_a_time_for_each_endpoint() -> None:
    endpoint = an_endpoint()
    begin(endpoint)

    assert refusal(endpoint) == "recovery_running"
    begin(an_endpoint())


def refusal(endpoint: Endpoint, since: datetime = LONG_AGO, sight: Sight = EVERYTHING) -> str:
    with pytest.raises(Refused) as refused:
        begin(endpoint, since, sight)
    return refused.value.code


def test_what_makes_no_sense_is_refused_with_the_reason() -> None:
    endpoint, disabled = an_endpoint(), an_endpoint(is_enabled=False)

    assert refusal(endpoint, since=datetime.now(UTC) + timedelta(days=1)) == "since_not_past"
    assert refusal(disabled) == "endpoint_disabled"
    assert refusal(Endpoint(id="ep_nobody's", organisation_id="o", url="u", sealed=b"")) == "unknown_endpoint"


def test_nobody_recovers_or_sees_for_another_organisation_or_mode() -> None:
    endpoint = an_endpoint()
    strangers = [Sight(an_organisation("Globex").id, test_mode=False), Sight(an_organisation().id, test_mode=True)]

    assert [refusal(endpoint, sight=stranger) for stranger in strangers] == ["unknown_endpoint"] * 2
    recovery = begin(endpoint)
    assert visible(strangers) == [[], []]
    assert visible([Sight(an_organisation().id, test_mode=False), EVERYTHING]) == [[recovery.id]] * 2
    for stranger in strangers:
        with transaction() as session, pytest.raises(Refused) as refused:
            find_recovery(session, stranger, recovery.id)
        assert refused.value.code == "unknown_recovery"


def visible(sights: Sequence[Sight]) -> list[list[str]]:
    with transaction() as session:
        return [[recovery.id for recovery in list_recoveries(session, sight)] for sight in sights]
