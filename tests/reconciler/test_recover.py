"""The recovery job: worked off by a real reconciler, and by the next one when the first is killed in the middle."""

import os
import signal
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from models.database import transaction
from models.endpoint import Endpoint
from models.recovery import Recovery, RecoveryState
from payouts.recover import MOST_OPEN, SETTLED_AFTER, find_recovery, start
from payouts.sight import EVERYTHING
from reconciler import recover
from tests.concurrency import wait_until
from tests.factories import an_endpoint
from tests.payouts.missed import STEPS, a_history, close, deliveries
from tests.servers import a_process
from workers.broker import broker

pytestmark = pytest.mark.usefixtures("database")

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
EVENTS = MOST_OPEN + 1_700


def a_recovery(endpoint: Endpoint) -> Recovery:
    """Return a recovery of which everything is settled by now."""
    with transaction() as session:
        return start(session, EVERYTHING, endpoint.id, LONG_AGO, actor="a", now=datetime.now(UTC) - SETTLED_AFTER)


def get(recovery: Recovery) -> Recovery:
    with transaction() as session:
        return find_recovery(session, EVERYTHING, recovery.id)


def long_ago() -> None:
    """Let everything have happened in July 2025, as ids tell it."""
    with transaction() as session:
        run = session.connection().execute
        run(text("UPDATE payout_event SET id = 'evt_0198' || right(id, 24)"))


def many_events() -> None:
    more = text(
        "INSERT INTO payout_event (id, payout_id, organisation_id, test_mode, sequence, status, source, created_at,"
        " payload) SELECT 'evt_0198' || lpad(to_hex(n), 24, '0'), 'pay_' || n, e.organisation_id, false, 1, 'pending',"
        " 'webhook', now(), '{}' FROM payout_event e, generate_series(1, :number) n"
    )
    with transaction() as session:
        session.connection().execute(more, {"number": EVENTS - 1})


def counted(endpoint: Endpoint) -> tuple[int, int]:
    """Return how many deliveries there are, and for how many events."""
    number = text("SELECT count(*), count(DISTINCT event_id) FROM delivery WHERE endpoint_id = :id")
    with transaction() as session:
        all_, events = session.connection().execute(number, {"id": endpoint.id}).one()
    return all_, events


def test_one_run_takes_steps_until_all_is_owed_and_queues_it() -> None:
    a_history(*STEPS)
    long_ago()
    endpoint = an_endpoint()
    recovery = a_recovery(endpoint)
    broker.flush_all()

    recover.work_off_recoveries()

    assert get(recovery).state == RecoveryState.DONE
    assert len(deliveries(endpoint)) == 4
    assert broker.do_qsize("deliver") == 1


def test_history_waits_while_the_workers_have_much_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = an_endpoint()
    recovery = a_recovery(endpoint)
    monkeypatch.setattr(recover, "backlog", lambda _queue: recover.LONGEST_BACKLOG + 1)

    recover.work_off_recoveries()

    assert get(recovery).state == RecoveryState.RUNNING


def test_a_reconciler_killed_in_the_middle_leaves_the_rest_to_the_next_and_nothing_is_owed_twice() -> None:
    a_history()
    long_ago()
    many_events()
    endpoint = an_endpoint()
    recovery = a_recovery(endpoint)
    with a_process("-m", "reconciler") as first:
        wait_until(lambda: get(recovery).owed >= MOST_OPEN)
        os.kill(first.pid, signal.SIGKILL)
        first.wait(20)
    halfway = get(recovery)
    assert halfway.state == RecoveryState.RUNNING
    assert counted(endpoint) == (halfway.owed, halfway.owed)
    close("delivered")

    with a_process("-m", "reconciler"):
        wait_until(lambda: get(recovery).state == RecoveryState.DONE)

    assert counted(endpoint) == (EVENTS, EVENTS)
    assert get(recovery).owed == EVENTS
