"""Deliveries that are leased as they are written, to a courier that is at hand."""

from datetime import UTC, datetime, timedelta

import pytest

from models.database import transaction
from models.lifecycle import PayoutStatus
from models.outbox import Carrier, DeliveryState
from models.payout import Payout
from payouts.claiming import claim
from payouts.deliveries import LEASE, Claimed, Finished, Outcome
from payouts.observe import Observed, observe
from payouts.recording import record
from payouts.sweeping import sweep_due
from tests.factories import a_payout, an_endpoint, an_integration, get_deliveries, some_evidence

S = PayoutStatus


@pytest.fixture
def now(database: None) -> datetime:
    """Give a time at which everything that a test has created is due."""
    return datetime.now(UTC) + timedelta(minutes=1)


def _hear(now: datetime, *told: tuple[Payout, PayoutStatus], room: int = 100) -> Observed:
    """Observe this, with a courier at hand that has room for so many of each endpoint."""
    with transaction() as session:
        evidence = [some_evidence(payout, status) for payout, status in told]
        return observe(session, evidence, now, Carrier(lambda _: room, now + LEASE))


def _payouts(number: int) -> list[Payout]:
    integration = an_integration()
    return [a_payout(integration, reference=f"cpoi_{n}") for n in range(number)]


def test_what_a_courier_has_room_for_is_its_own_as_it_is_written(now: datetime) -> None:
    (payout,) = _payouts(1)
    endpoint = an_endpoint()

    observed = _hear(now, (payout, S.BROADCAST))

    (delivery,) = get_deliveries(payout)
    (carried,) = observed.carried
    assert observed.deliveries == []
    assert (delivery.attempts, delivery.leased_until) == (1, now + LEASE)
    assert (carried.id, carried.number, carried.event_id) == (delivery.id, 1, delivery.event_id)
    assert (carried.to.url, carried.leased_until) == (endpoint.url, now + LEASE)
    assert f'"status":"{S.BROADCAST}"' in carried.payload


def test_it_is_what_a_claim_would_have_brought(now: datetime) -> None:
    one, other = _payouts(2)
    an_endpoint()

    (carried,) = _hear(now, (one, S.BROADCAST)).carried
    with transaction() as session:
        observed = observe(session, [some_evidence(other, S.BROADCAST)], now)
        (claimed,) = claim(session, observed.deliveries, now).claimed

    assert _without_names(carried) == _without_names(claimed)


def _without_names(claimed: Claimed) -> tuple[object, ...]:
    return claimed.number, claimed.endpoint_id, claimed.leased_until, claimed.to


def test_what_waits_behind_another_of_its_payout_is_nobodys(now: datetime) -> None:
    an_endpoint()
    (payout,) = _payouts(1)  # its first event is owed, and open

    observed = _hear(now, (payout, S.BROADCAST))

    assert observed.carried == []
    assert observed.deliveries == [get_deliveries(payout)[1].id]
    assert get_deliveries(payout)[1].leased_until is None


def test_of_two_events_of_one_payout_only_the_older_goes(now: datetime) -> None:
    (payout,) = _payouts(1)
    an_endpoint()

    observed = _hear(now, (payout, S.INITIATED), (payout, S.BROADCAST))

    older, newer = get_deliveries(payout)
    assert [one.id for one in observed.carried] == [older.id]
    assert observed.deliveries == [newer.id]


def test_no_more_is_leased_than_there_is_room_for_and_the_carrier_is_told_of_the_rest(now: datetime) -> None:
    payouts = _payouts(3)
    endpoint = an_endpoint()

    observed = _hear(now, *((payout, S.BROADCAST) for payout in payouts), room=2)

    (left,) = [one for payout in payouts for one in get_deliveries(payout) if one.leased_until is None]
    assert len(observed.carried) == 2
    assert observed.awaited == {endpoint.id: [left.id]}
    assert observed.deliveries == []


@pytest.mark.parametrize(
    "state", [{"rate_limit": 10}, {"breaker": "open"}, {"not_before": datetime(2100, 1, 1, tzinfo=UTC)}]
)
def test_an_endpoint_that_may_not_take_all_is_left_to_the_claim(now: datetime, state: dict[str, object]) -> None:
    (payout,) = _payouts(1)
    an_endpoint(**state)

    observed = _hear(now, (payout, S.BROADCAST))

    assert observed.carried == []
    assert len(observed.deliveries) == 1


@pytest.mark.parametrize("has_carrier", [True, False])
def test_who_is_owed_what_does_not_depend_on_a_carrier(now: datetime, *, has_carrier: bool) -> None:
    (payout,) = _payouts(1)
    hears = [an_endpoint(), an_endpoint(event_types=["payout.failed", "payout.broadcast"])]
    an_endpoint(event_types=["payout.failed"])
    an_endpoint(is_enabled=False)
    an_endpoint(test_mode=True)
    an_endpoint(organisation="Other")

    evidence = some_evidence(payout, S.BROADCAST)
    with transaction() as session:
        observe(session, [evidence], now, Carrier(lambda _: 100, now + LEASE) if has_carrier else None)

    assert {each.endpoint_id for each in get_deliveries(payout)} == {endpoint.id for endpoint in hears}


def test_what_is_carried_is_recorded_like_what_is_claimed(now: datetime) -> None:
    (payout,) = _payouts(1)
    an_endpoint()
    (carried,) = _hear(now, (payout, S.BROADCAST)).carried

    with transaction() as session:
        record(session, [Finished(carried, Outcome.DELIVERED, now, 3, 204)], now)

    assert get_deliveries(payout)[0].state == DeliveryState.DELIVERED


def test_what_a_lost_worker_had_is_swept_when_its_lease_ends(now: datetime) -> None:
    (payout,) = _payouts(1)
    an_endpoint()
    (carried,) = _hear(now, (payout, S.BROADCAST)).carried

    with transaction() as session:
        during = sweep_due(session, now + LEASE - timedelta(seconds=1), 10)
        after = sweep_due(session, now + LEASE + timedelta(seconds=1), 10)

    assert (during, after) == ([], [carried.id])
