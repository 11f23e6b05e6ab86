"""Who may go and who has to wait: room, gates, giving back, and a sweep that no backlog can blind."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import TextClause, text
from sqlmodel import col, select

from models.database import Quick, transaction
from models.endpoint import Breaker, Endpoint
from models.lifecycle import PayoutStatus
from models.outbox import Delivery
from models.payout import Payout
from payouts import claiming, recording, retention, sweeping
from payouts.claiming import Claims, Due, claim, look, release, successors, take
from payouts.deliveries import LEASE, Claimed, Finished, Outcome
from payouts.recording import record
from payouts.sweeping import most_overdue, sweep_due
from tests.concurrency import at_once
from tests.factories import a_payout, an_endpoint, an_integration, get_deliveries, say

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def now(database: None) -> datetime:
    """Give a time at which everything that a test has created is due."""
    return datetime.now(UTC) + timedelta(minutes=1)


def some_payouts(number: int) -> list[Payout]:
    integration = an_integration()
    return [a_payout(integration) for _ in range(number)]


def all_ids() -> list[str]:
    with transaction() as session:
        return list(session.exec(select(Delivery.id).order_by(col(Delivery.id))))


def do_claim(now: datetime, ids: list[str] | None = None, room: Callable[[str], int] | None = None) -> Claims:
    asked = all_ids() if ids is None else ids
    with transaction() as session:
        return claim(session, asked, now, room)


def do_record(now: datetime, outcome: Outcome, *claims: Claimed) -> list[Finished]:
    finished = [Finished(one, outcome, now, 12, 204 if outcome is Outcome.DELIVERED else 500) for one in claims]
    with transaction() as session:
        record(session, finished, now)
    return finished


def do_release(now: datetime, *claims: Claimed) -> None:
    with transaction() as session:
        release(session, claims, now)


def do_sweep(now: datetime, most: int = 1_000) -> list[str]:
    with transaction() as session:
        return sweep_due(session, now, most)


def row(endpoint: Endpoint) -> Endpoint:
    with transaction() as session:
        return session.get_one(Endpoint, endpoint.id)


# --- room


def test_no_more_is_claimed_of_an_endpoint_than_there_is_room_for(now: datetime) -> None:
    small, large = an_endpoint(), an_endpoint()
    some_payouts(5)

    claims = do_claim(now, room=lambda endpoint_id: 2 if endpoint_id == small.id else 100)

    assert sum(one.endpoint_id == small.id for one in claims.claimed) == 2
    assert sum(one.endpoint_id == large.id for one in claims.claimed) == 5
    assert list(claims.waiting) == [small.id]
    again = do_claim(now, claims.waiting[small.id])
    assert len(again.claimed) == 3
    assert {one.number for one in again.claimed} == {1}


@pytest.mark.parametrize("room", [0, -7])
def test_without_room_nothing_is_claimed_and_all_of_it_waits(now: datetime, room: int) -> None:
    endpoint = an_endpoint()
    some_payouts(3)

    claims = do_claim(now, room=lambda _: room)

    assert (claims.claimed, claims.waiting) == ([], {endpoint.id: all_ids()})


def test_what_has_waited_longest_is_claimed_first(now: datetime) -> None:
    an_endpoint()
    payouts = some_payouts(3)
    oldest = get_deliveries(payouts[2])[0].id
    with transaction() as session:
        session.get_one(Delivery, oldest).next_attempt_at = now - HOUR

    (claimed,) = do_claim(now, room=lambda _: 1).claimed

    assert claimed.id == oldest


# --- looked at, then claimed


def do_look(now: datetime) -> list[Due]:
    with transaction() as session:
        return look(session, all_ids(), now)


def do_take(now: datetime, due: list[Due]) -> list[Claimed]:
    with transaction() as session:
        return take(session, due, now).claimed


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE endpoint SET is_enabled = false",
        "UPDATE endpoint SET not_before = now() + interval '1 hour'",
        "UPDATE endpoint SET breaker = 'half_open'",
        "UPDATE endpoint SET rate_limit = 5",
        "UPDATE delivery SET leased_until = now() + interval '1 hour'",
        "UPDATE delivery SET attempts = 1, next_attempt_at = now() + interval '1 hour'",
        "UPDATE delivery SET state = 'dropped', closed_at = now()",
        "UPDATE delivery SET sequence = sequence + 1",
    ],
)
def test_what_may_go_no_more_since_it_was_looked_at_is_not_claimed(now: datetime, change: str) -> None:
    endpoint = an_endpoint()
    payout = a_payout()
    due = do_look(now)
    with transaction() as session:
        session.connection().execute(text(change))
        older = Delivery(
            endpoint_id=endpoint.id, payout_id=payout.id, event_id="evt_1", sequence=1, created_at=now,
            next_attempt_at=now,
        )  # fmt: skip
        session.add_all([older] if "sequence" in change else [])

    assert len(due) == 1
    assert do_take(now, due) == []


def test_workers_that_have_looked_at_the_same_claim_each_of_it_once(now: datetime) -> None:
    an_endpoint()
    some_payouts(40)
    due = do_look(now)

    taken = at_once(*[lambda: do_take(now, due)] * 6)

    assert sorted(one.id for claimed in taken for one in claimed) == sorted(all_ids())


def test_a_claim_does_not_wait_for_the_disk_and_nothing_else_may_do_so(now: datetime) -> None:
    an_endpoint()
    some_payouts(1)
    shown = text("SHOW synchronous_commit")

    with transaction() as session:
        before = session.connection().execute(shown).scalar_one()
        claim(session, all_ids(), now)
        meanwhile = session.connection().execute(shown).scalar_one()
    with transaction() as session:
        after = session.connection().execute(shown).scalar_one()

    assert (before, meanwhile, after) == ("on", "off", "on")


def test_what_is_sent_in_the_name_of_a_lease_that_a_crash_has_taken_is_believed(now: datetime) -> None:
    an_endpoint()
    some_payouts(2)
    first, second = do_claim(now).claimed
    with transaction() as session:  # as PostgreSQL finds them when it comes back
        session.connection().execute(text("UPDATE delivery SET attempts = 0, leased_until = NULL"))

    do_record(now, Outcome.DELIVERED, first)
    do_record(now, Outcome.REFUSED, second)

    assert [one.id for one in do_claim(now).claimed] == [second.id]


# --- given back


def test_what_is_given_back_is_as_if_it_had_never_been_claimed(now: datetime) -> None:
    an_endpoint()
    some_payouts(1)
    (claimed,) = do_claim(now).claimed

    do_release(now, claimed)

    (again,) = do_claim(now).claimed
    assert again.number == claimed.number == 1


def test_what_another_has_claimed_since_is_not_given_back(now: datetime) -> None:
    an_endpoint()
    some_payouts(1)
    (late,) = do_claim(now).claimed
    later = now + LEASE + SECOND
    (newer,) = do_claim(later).claimed

    do_release(later, late)

    assert do_claim(later).claimed == []
    do_record(later, Outcome.DELIVERED, newer)
    do_release(later, newer)
    with transaction() as session:
        assert session.get_one(Delivery, newer.id).state == "delivered"


# --- rests and rate limits


def test_nothing_is_claimed_for_an_endpoint_before_its_rest_is_over(now: datetime) -> None:
    an_endpoint(not_before=now + HOUR)
    some_payouts(2)

    assert (do_claim(now).claimed, do_sweep(now)) == ([], [])
    assert len(do_claim(now + HOUR).claimed) == len(do_sweep(now + HOUR + LEASE + SECOND)) == 2


def test_a_rate_limit_is_kept_second_by_second(now: datetime) -> None:
    an_endpoint(rate_limit=3)
    some_payouts(10)

    numbers = [len(do_claim(now + seconds * SECOND).claimed) for seconds in (0, 0, 0.5, 1, 2, 3)]

    assert numbers == [3, 0, 1, 2, 3, 1]


def test_a_rate_limit_saves_up_a_second_and_no_more(now: datetime) -> None:
    an_endpoint(rate_limit=3)
    some_payouts(9)
    do_claim(now)

    assert len(do_claim(now + HOUR).claimed) == 3


def test_a_rate_limit_of_one_lets_one_go_a_second(now: datetime) -> None:
    an_endpoint(rate_limit=1)
    some_payouts(3)

    assert [len(do_claim(now + n * SECOND / 2).claimed) for n in range(5)] == [1, 0, 1, 0, 1]


def test_two_workers_keep_a_rate_limit_together(now: datetime) -> None:
    an_endpoint(rate_limit=5)
    some_payouts(20)

    claims = at_once(*[lambda: do_claim(now)] * 3)

    assert sum(len(one.claimed) for one in claims) == 5


def test_a_rate_limit_is_its_own_endpoints_alone(now: datetime) -> None:
    an_endpoint(rate_limit=1)
    free = an_endpoint()
    some_payouts(5)

    assert sum(one.endpoint_id == free.id for one in do_claim(now).claimed) == 5


def test_a_sweep_finds_no_more_of_an_endpoint_than_its_rate_allows(now: datetime) -> None:
    an_endpoint(rate_limit=2)
    some_payouts(5)

    assert len(do_sweep(now)) == 2


# --- an open breaker


def an_open_endpoint(now: datetime) -> Endpoint:
    return an_endpoint(breaker=Breaker.OPEN, failures=10, openings=1, not_before=now, failing_since=now)


def test_while_a_breaker_is_open_nothing_goes_and_then_one_to_see(now: datetime) -> None:
    endpoint = an_open_endpoint(now)
    some_payouts(5)

    assert (do_claim(now - SECOND).claimed, do_sweep(now - SECOND)) == ([], [])
    assert len(do_sweep(now)) == 1
    (probe,) = do_claim(now).claimed

    assert probe.number == 1
    assert (row(endpoint).breaker, row(endpoint).not_before) == (Breaker.HALF_OPEN, now + LEASE)
    assert (do_claim(now + SECOND).claimed, do_sweep(now + SECOND)) == ([], [])


def test_two_workers_send_one_probe_together(now: datetime) -> None:
    an_open_endpoint(now)
    some_payouts(5)

    claims = at_once(*[lambda: do_claim(now)] * 4)

    assert sum(len(one.claimed) for one in claims) == 1


def test_a_probe_whose_worker_is_lost_is_followed_by_another(now: datetime) -> None:
    an_open_endpoint(now)
    some_payouts(5)
    do_claim(now)

    assert len(do_claim(now + LEASE + SECOND).claimed) == 1


def test_a_probe_that_is_given_back_leaves_the_next_one_at_once(now: datetime) -> None:
    endpoint = an_open_endpoint(now)
    some_payouts(5)
    (probe,) = do_claim(now).claimed

    do_release(now, probe)

    assert row(endpoint).not_before == now
    assert len(do_claim(now).claimed) == 1


def test_without_room_no_probe_is_sent_and_none_is_waited_for(now: datetime) -> None:
    endpoint = an_open_endpoint(now)
    some_payouts(5)

    assert do_claim(now, room=lambda _: 0).claimed == []
    assert row(endpoint).breaker == Breaker.OPEN


# --- the sweep


def test_a_long_backlog_of_one_endpoint_hides_nobody_elses(now: datetime) -> None:
    an_endpoint()
    some_payouts(60)
    other = an_endpoint()
    (late,) = some_payouts(1)

    found = do_sweep(now, most=20)

    assert len(found) == 10 + 1
    assert {d.id for d in get_deliveries(late) if d.endpoint_id == other.id} <= set(found)


def test_who_is_owed_nothing_that_is_due_takes_no_share(now: datetime) -> None:
    for _ in range(4):
        an_endpoint()
    (early,) = some_payouts(1)
    do_record(now, Outcome.REFUSED, *do_claim(now).claimed)
    an_endpoint(organisation="Somebody else")
    integration = an_integration()
    for _ in range(25):
        a_payout(integration, organisation="Somebody else")

    assert len(get_deliveries(early)) == 4
    assert len(do_sweep(now, most=20)) == 20


@pytest.mark.parametrize("state", ["disabled", "resting"])
def test_the_backlog_of_an_endpoint_that_may_not_be_sent_to_hides_nobody_elses(now: datetime, state: str) -> None:
    dead = an_endpoint()
    some_payouts(60)
    with transaction() as session:
        endpoint = session.get_one(Endpoint, dead.id)
        endpoint.is_enabled, endpoint.not_before = state != "disabled", now + HOUR
    other = an_endpoint(organisation="Somebody else")
    late = a_payout(organisation="Somebody else")

    assert do_sweep(now, most=20) == [get_deliveries(late)[0].id]
    assert get_deliveries(late)[0].endpoint_id == other.id


def test_what_waits_behind_another_is_put_off_until_that_ones_time(now: datetime) -> None:
    an_endpoint()
    payout = a_payout()
    for status in (PayoutStatus.INITIATED, PayoutStatus.BROADCAST):
        say(payout, status)
    (head,) = do_claim(now).claimed
    do_record(now, Outcome.REFUSED, head)

    assert do_sweep(now) == []

    first, *behind = get_deliveries(payout)
    assert {one.next_attempt_at for one in behind} == {max(first.next_attempt_at, now + timedelta(minutes=1))}


def test_what_was_put_off_goes_the_moment_its_turn_comes(now: datetime) -> None:
    an_endpoint()
    payout = a_payout()
    say(payout, PayoutStatus.INITIATED)
    (head,) = do_claim(now).claimed
    do_sweep(now)
    finished = do_record(now, Outcome.DELIVERED, head)

    with transaction() as session:
        heads = successors(session, finished, now)

    assert heads == [get_deliveries(payout)[1].id]
    assert [one.id for one in do_claim(now, heads).claimed] == heads


def test_what_was_put_off_and_then_forgotten_is_swept_within_a_minute(now: datetime) -> None:
    an_endpoint()
    payout = a_payout()
    say(payout, PayoutStatus.INITIATED)
    (head,) = do_claim(now).claimed
    do_sweep(now)
    do_record(now, Outcome.DELIVERED, head)  # and its worker dies before it asks for successors

    assert do_sweep(now + timedelta(minutes=1)) == [get_deliveries(payout)[1].id]


def test_those_that_wait_behind_others_do_not_hide_a_head(now: datetime) -> None:
    an_endpoint()
    integration = an_integration()
    for _ in range(12):
        payout = a_payout(integration)
        say(payout, PayoutStatus.INITIATED)
    heads = do_claim(now).claimed
    do_record(now, Outcome.REFUSED, *heads[:-1])
    do_release(now, heads[-1])
    with transaction() as session:
        session.connection().execute(
            text("UPDATE delivery SET next_attempt_at = :now WHERE id = :id"), {"now": now, "id": heads[-1].id}
        )
        session.connection().execute(text("UPDATE endpoint SET breaker = 'closed', not_before = NULL"))

    found = [do_sweep(now, most=1) for _ in range(3)]

    assert [heads[-1].id] in found


def test_a_sweep_reads_what_is_due_and_no_more(now: datetime) -> None:
    an_endpoint()
    some_payouts(25)
    due = set(all_ids()[:4])
    with transaction() as session:
        later = text("UPDATE delivery SET next_attempt_at = :later WHERE id <> ALL(:due)")
        session.connection().execute(later, {"later": now + HOUR, "due": list(due)})
        session.connection().execute(text("ANALYZE delivery"))

    with transaction() as session:
        explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {sweeping.SWEEP.text}")
        (plan,) = session.connection().execute(explain, {"now": now, "most": 5_000}).scalar_one()

    assert dict(_rows(plan["Plan"]))["d_3"] == 4
    assert set(do_sweep(now)) == due


def _rows(node: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Return how many rows of each part that reads deliveries were looked at, those that were thrown away too."""
    if node.get("Relation Name") == "delivery":
        looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        yield node["Alias"], looked_at * node["Actual Loops"]
    for child in node.get("Plans", ()):
        yield from _rows(child)


def test_the_most_overdue_is_one_that_could_have_gone(now: datetime) -> None:
    an_endpoint()
    an_endpoint(not_before=now + HOUR)
    payout = a_payout()
    say(payout, PayoutStatus.INITIATED)
    ready = get_deliveries(payout)[0]

    with transaction() as session:
        assert most_overdue(session, now) == ready.next_attempt_at
    do_claim(now)
    with transaction() as session:
        assert most_overdue(session, now) is None


# --- plans


@pytest.fixture
def old_statistics(database: None) -> None:
    """Have a history on record, and statistics from when nothing was open."""
    with transaction() as session:
        connection = session.connection()
        connection.execute(text(_HISTORY))
        connection.execute(text("ANALYZE delivery"))


_HISTORY = """
    INSERT INTO delivery (id, endpoint_id, payout_id, event_id, sequence, state, attempts, created_at, next_attempt_at,
        closed_at)
    SELECT 'dlv_' || n, 'ep_' || n % 50, 'pay_' || n / 4, 'evt_' || n, n % 4, 'delivered', 1, now(), now(), now()
    FROM generate_series(1, 20000) n
"""

_IDS: dict[str, Any] = {"ids": '["dlv_1", "dlv_2"]'}
_NO_ROWS: dict[str, Any] = {"rows": "[]"}

PLANS: dict[str, tuple[TextClause | Quick, dict[str, Any], set[tuple[str, str]]]] = {
    "look": (claiming.LOOK, _IDS, {("d", "pk_delivery"), ("older", "ix_delivery_open")}),
    "take": (
        claiming.TAKE,
        _IDS | {"lease": None, "admitted": "[]"},
        {("d", "pk_delivery"), ("older", "ix_delivery_open"), ("d_1", "Tid Scan")},
    ),
    "release": (claiming._RELEASE, _NO_ROWS, {("d", "pk_delivery")}),
    "record": (recording._RECORD, _NO_ROWS, {("d", "pk_delivery")}),
    "successors": (claiming._SUCCESSORS, _NO_ROWS, {("delivery", "ix_delivery_open")}),
    "sweep": (
        sweeping.SWEEP,
        {"most": 5_000},
        {
            *((alias, "ix_delivery_due") for alias in ("d", "d_1", "d_3")),
            *((alias, "ix_delivery_open") for alias in ("older", "older_1")),
            ("d_4", "pk_delivery"),
        },
    ),
    "bodies": (
        retention._BODIES,
        {"after": "", "bound": "evt_1", "most": 1_000},
        {("d", "ix_delivery_event")},
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_no_statistics_turn_a_look_up_into_a_scan(old_statistics: None, name: str) -> None:
    planned, asked, expected = PLANS[name]
    statement = planned.statement if isinstance(planned, Quick) else planned.text
    used = {"now": datetime.now(UTC)} if ":now" in statement else {}

    with transaction() as session:
        explain = text(f"EXPLAIN (FORMAT JSON) {statement}")
        (plan,) = session.connection().execute(explain, {**asked, **used}).scalar_one()

    assert set(_reads(plan["Plan"])) == expected


def _reads(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Return by which index each part of a plan reads deliveries."""
    if node.get("Relation Name") == "delivery" and "Scan" in node["Node Type"]:
        yield node["Alias"], node.get("Index Name", node["Node Type"])
    for child in node.get("Plans", ()):
        yield from _reads(child)
