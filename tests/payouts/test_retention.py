"""What has had its time goes, what is owed stays, and nobody waits meanwhile."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import SQLModel, col, select

import reconciler.prune
from models.database import transaction
from models.endpoint import Endpoint
from models.lifecycle import PayoutStatus
from models.notice import Notice
from models.outbox import Attempt, Delivery
from models.payout import Payout, PayoutEvent
from payouts import endpoints as rules
from payouts import retention
from payouts.claiming import claim
from payouts.deliveries import Finished, Outcome
from payouts.notices import ping
from payouts.recording import record
from payouts.redeliver import redeliver
from payouts.sight import EVERYTHING
from reconciler.prune import prune
from tests.factories import a_payout, an_endpoint, an_integration, get_deliveries, get_events, say

DAY = timedelta(days=1)
LATER = timedelta(days=100)
"""From when everything that a test has made is old."""


@pytest.fixture
def then(database: None) -> datetime:
    """Give a time before which everything was made and closed."""
    return datetime.now(UTC) + timedelta(hours=1)


def number(table: type[SQLModel]) -> int:
    with transaction() as session:
        return len(session.exec(select(table)).all())


def attempt_all(outcome: Outcome = Outcome.DELIVERED) -> None:
    """Attempt whatever is owed, in order, until nothing more may go."""
    now = datetime.now(UTC) + timedelta(minutes=1)
    while True:
        with transaction() as session:
            ids = session.exec(select(Delivery.id).where(Delivery.state == "open")).all()
            claimed = claim(session, ids, now).claimed
            record(session, [Finished(one, outcome, datetime.now(UTC), 5, 204) for one in claimed], now)
        if not claimed or outcome is not Outcome.DELIVERED:
            return


def some_history(payouts: int = 3) -> list[Payout]:
    integration = an_integration()
    found = [a_payout(integration) for _ in range(payouts)]
    for payout in found:
        say(payout, PayoutStatus.DELIVERED)
    return found


def prune_once(what: Any, before: datetime, *more: Any) -> Any:
    with transaction() as session:
        return what(session, before, *more)


# --- attempts


def test_attempts_go_by_their_age(then: datetime) -> None:
    an_endpoint()
    some_history()
    attempt_all()

    young = prune_once(retention.prune_attempts, then - DAY)
    old = prune_once(retention.prune_attempts, then)

    assert (young, old, number(Attempt)) == (0, 6, 0)
    assert number(Delivery) == 6


def test_so_many_go_at_a_time_the_oldest_first(then: datetime) -> None:
    an_endpoint()
    some_history()
    attempt_all()
    with transaction() as session:
        ids = session.exec(select(Attempt.id).order_by(col(Attempt.id))).all()

    gone = prune_once(retention.prune_attempts, then, 4)

    with transaction() as session:
        left = session.exec(select(Attempt.id).order_by(col(Attempt.id))).all()
    assert (gone, left) == (4, ids[4:])


def test_what_another_has_locked_is_passed_by(then: datetime) -> None:
    an_endpoint()
    some_history()
    attempt_all()
    with transaction() as session:
        session.connection().execute(text("SELECT FROM attempt ORDER BY id LIMIT 1 FOR UPDATE"))

        gone = prune_once(retention.prune_attempts, then)

    assert (gone, number(Attempt)) == (5, 1)


# --- bodies and deliveries


def test_bodies_go_once_nothing_is_owed_for_them_and_the_history_stays(then: datetime) -> None:
    an_endpoint()
    (payout,) = some_history(1)
    before_delivery = prune_once(retention.prune_bodies, then, "")
    attempt_all()

    after_delivery = prune_once(retention.prune_bodies, then, "")

    events = get_events(payout)
    assert (before_delivery[0], after_delivery[0]) == (0, 2)
    assert [event.payload for event in events] == [None, None]
    assert [event.status for event in events] == ["pending", "delivered"]


def test_young_bodies_stay(then: datetime) -> None:
    some_history(1)

    assert prune_once(retention.prune_bodies, then - DAY, "") == (0, None)


def test_bodies_are_looked_at_page_by_page_to_the_end(then: datetime) -> None:
    some_history(3)
    reached: str | None = ""
    pruned, pages = 0, 0

    while reached is not None:
        gone, reached = prune_once(retention.prune_bodies, then, reached, 4)
        pruned, pages = pruned + gone, pages + 1

    assert (pruned, pages) == (6, 3)


def test_a_delivery_goes_only_after_the_body_so_that_no_event_seems_missed(then: datetime) -> None:
    an_endpoint()
    (payout,) = some_history(1)
    attempt_all()

    too_soon, reached = prune_once(retention.prune_deliveries, then, "")
    prune_once(retention.prune_bodies, then, "")
    in_time, _ = prune_once(retention.prune_deliveries, then, "")

    assert (too_soon, in_time, get_deliveries(payout)) == (0, 2, [])
    assert prune_once(retention.prune_deliveries, then, reached) == (0, None)


def test_what_is_open_is_never_touched_nor_is_what_it_needs(then: datetime) -> None:
    slow = an_endpoint()
    an_endpoint()
    (payout,) = some_history(1)
    attempt_all(Outcome.REFUSED)
    with transaction() as session:
        session.connection().execute(
            text("UPDATE delivery SET state = 'delivered', closed_at = now() WHERE endpoint_id <> :id"), {"id": slow.id}
        )

    prune_once(retention.prune_bodies, then + LATER, "")
    prune_once(retention.prune_deliveries, then + LATER, "")

    assert len(get_deliveries(payout)) == 4
    assert all(event.payload for event in get_events(payout))


def test_a_body_that_goes_in_the_moment_it_is_asked_for_again_leaves_nothing_open(then: datetime) -> None:
    an_endpoint()
    (payout,) = some_history(1)
    attempt_all()
    (first, *_) = get_deliveries(payout)
    with transaction() as session:
        again = redeliver(session, EVERYTHING, first.id, actor="test", now=datetime.now(UTC)).id
    with transaction() as session:
        session.connection().execute(text("UPDATE payout_event SET payload = NULL"))

    with transaction() as session:
        claims = claim(session, [again], then)

    with transaction() as session:
        assert (claims.claimed, session.get_one(Delivery, again).state) == ([], "dead")


def test_notices_go_after_their_deliveries(then: datetime) -> None:
    endpoint = an_endpoint()
    with transaction() as session:
        ping(session, endpoint, datetime.now(UTC))
    attempt_all()

    too_soon = prune_once(retention.prune_notices, then)
    prune_once(retention.prune_deliveries, then, "")
    in_time = prune_once(retention.prune_notices, then)

    assert (too_soon, in_time, number(Notice)) == (0, 1, 0)


# --- what nobody awaits


def test_what_is_owed_to_a_deleted_endpoint_is_dropped(then: datetime) -> None:
    deleted, other = an_endpoint(), an_endpoint()
    some_history(2)
    with transaction() as session:
        rules.delete(session, session.get_one(Endpoint, deleted.id), actor="test", now=datetime.now(UTC))

    steps = [prune_once(retention.drop_what_nobody_awaits, then, 3) for _ in range(3)]

    assert steps == [3, 1, 0]
    assert _states(deleted) == ["dropped"] * 4
    assert _states(other) == ["open"] * 4


def _states(endpoint: Endpoint) -> Sequence[str]:
    with transaction() as session:
        return session.exec(select(Delivery.state).where(Delivery.endpoint_id == endpoint.id)).all()


# --- the job


def test_the_job_prunes_all_of_it_in_many_small_steps(then: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST", 2)
    for function in (retention.prune_attempts, retention.prune_bodies, retention.prune_deliveries):
        monkeypatch.setattr(function, "__defaults__", (2,))
    for name in ("bodies", "deliveries"):
        look = getattr(retention, f"prune_{name}")
        monkeypatch.setattr(reconciler.prune, f"_{name}", reconciler.prune._Round(name, look))
    an_endpoint()
    some_history(4)
    attempt_all()
    _grow_older(LATER)

    prune()

    assert (number(Attempt), number(Delivery), number(PayoutEvent)) == (0, 0, 8)


def _grow_older(by: timedelta) -> None:
    """Move what is on record into the past; ids tell the time too, so they move along."""
    with transaction() as session:
        session.connection().execute(text("UPDATE attempt SET started_at = started_at - :by"), {"by": by})
        session.connection().execute(text("UPDATE delivery SET closed_at = closed_at - :by"), {"by": by})
        for table, column in (("payout_event", "id"), ("delivery", "id"), ("delivery", "event_id")):
            older = _OLDER_ID.format(table=table, column=column)
            session.connection().execute(text(older), {"ms": by // timedelta(milliseconds=1)})


_OLDER_ID = """
    UPDATE {table} SET {column} = left({column}, 4)
        || lpad(to_hex(CAST(CAST('x' || substr({column}, 5, 12) AS bit(48)) AS bigint) - :ms), 12, '0')
        || substr({column}, 17)
"""


def test_the_job_leaves_what_is_young(database: None) -> None:
    an_endpoint()
    some_history(2)
    attempt_all()

    prune()

    assert (number(Attempt), number(Delivery)) == (4, 4)
