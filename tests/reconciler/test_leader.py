"""One leader, and another one soon."""

import signal
import subprocess
import time
from collections.abc import Iterator

import psycopg
import pytest
from structlog.testing import capture_logs

from embedded.postgres import Postgres
from embedded.processes import free_ports
from reconciler.leader import LOCK, Leadership
from settings import settings
from tests.concurrency import wait_until
from tests.servers import a_postgres, a_process, log_of


@pytest.fixture
def first() -> Iterator[Leadership]:
    leadership = Leadership(settings().database_url)
    yield leadership
    leadership.resign()


@pytest.fixture
def second() -> Iterator[Leadership]:
    leadership = Leadership(settings().database_url)
    yield leadership
    leadership.resign()


def _cut_connections() -> None:
    with psycopg.connect(settings().database_url) as killer:
        killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ratchet leader'"
        )


def _contenders() -> int:
    with psycopg.connect(settings().database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ratchet leader'"
        ).fetchone()
    assert row
    return int(row[0])


def test_only_one_holds_the_lead(first: Leadership, second: Leadership) -> None:
    assert first.held()
    assert not second.held()
    assert first.held()


def test_who_resigns_makes_room(first: Leadership, second: Leadership) -> None:
    assert first.held()
    first.resign()

    wait_until(second.held)

    assert not first.held()


def test_who_loses_the_connection_is_deposed_and_may_lead_again(first: Leadership) -> None:
    assert first.held()
    _cut_connections()

    with capture_logs() as lines:
        deposed = not first.held()

    assert deposed
    assert [line["event"] for line in lines] == ["leader.connection_lost"]
    wait_until(first.held)


def test_a_lead_that_another_took_meanwhile_is_not_taken_back(first: Leadership, second: Leadership) -> None:
    assert first.held()
    _cut_connections()
    wait_until(second.held)

    with capture_logs():
        assert not first.held()
        assert not first.held()


def test_waiting_for_the_lead_leaves_no_connections_behind(first: Leadership, second: Leadership) -> None:
    assert first.held()

    for _ in range(20):
        assert not second.held()

    wait_until(lambda: _contenders() == 1)


def test_without_a_database_nobody_leads() -> None:
    with capture_logs() as lines:
        assert not Leadership("postgresql://ratchet@/ratchet?host=/nowhere").held()

    assert lines[0]["event"] == "leader.connection_lost"


def test_the_lock_is_the_one_that_is_documented(first: Leadership) -> None:
    assert first.held()

    with psycopg.connect(settings().database_url) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone()

    assert row == (False,)


@pytest.fixture
def over_tcp(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a server that listens on loopback: a unix socket keeps nothing alive."""
    port, tuning = free_ports(1)[0], Postgres._tuning
    monkeypatch.setenv("PGPORT", str(port))  # read by the server and by libpq
    monkeypatch.setattr(Postgres, "_tuning", lambda server: [*tuning(server), "listen_addresses=127.0.0.1"])
    with a_postgres() as own:
        own.url()
        own.stop()
        (own.folder / "data" / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
        own.start()
        yield f"postgresql://ratchet@127.0.0.1:{port}/ratchet"


def test_the_server_lets_go_of_a_leader_whose_host_has_vanished_within_seconds(over_tcp: str) -> None:
    leadership = Leadership(over_tcp)
    assert leadership.held()
    connection = leadership._connection
    assert connection

    # Over TCP PostgreSQL answers with what the kernel says of its end of the connection.
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    limits = [connection.execute(f"SHOW {name}").fetchone() for name in names]
    leadership.resign()

    assert limits == [("5",), ("2",), ("3",), ("10000",)]


# --- processes


def _leads(process: "subprocess.Popen[bytes]") -> bool:
    said = log_of(process)
    return said.count("leader.elected") > said.count("leader.deposed")


def test_of_two_processes_one_leads_and_when_it_is_killed_the_other_does(database: None) -> None:
    with a_process("-m", "reconciler") as one, a_process("-m", "reconciler") as other:
        wait_until(lambda: _leads(one) or _leads(other))
        leader, stand_by = (one, other) if _leads(one) else (other, one)
        led_alone = not _leads(stand_by)

        leader.send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        wait_until(lambda: _leads(stand_by))
        seconds = time.monotonic() - killed_at

        stand_by.terminate()
        assert stand_by.wait(10) == 0

    assert led_alone
    assert seconds < 5


def test_a_leader_that_loses_postgresql_is_deposed_and_leads_again_when_it_is_back() -> None:
    with a_postgres() as own, a_process("-m", "reconciler", DATABASE_URL=own.url()) as process:
        wait_until(lambda: _leads(process))

        own.stop()
        wait_until(lambda: not _leads(process))
        own.start()

        wait_until(lambda: _leads(process))
        assert process.poll() is None
