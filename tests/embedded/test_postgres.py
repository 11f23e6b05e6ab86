"""A PostgreSQL of our own: starts, keeps, restarts, and shares its folder with nobody."""

import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from embedded import processes
from embedded.postgres import Postgres
from embedded.processes import DidNotStart, InUse
from tests.concurrency import wait_until
from tests.servers import PROJECT, a_folder, a_postgres


@pytest.fixture(scope="module")
def _running() -> Iterator[Postgres]:
    with a_postgres() as server:
        yield server


@pytest.fixture
def server(_running: Postgres) -> Postgres:
    """The file's server, running."""
    if _running.process is None:
        _running.start()
    return _running


def notes(server: Postgres) -> list[str]:
    with psycopg.connect(server.url()) as connection:
        return [row[0] for row in connection.execute("SELECT word FROM note ORDER BY 1")]


def take_note(server: Postgres, word: str) -> None:
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (word text)")
        connection.execute("INSERT INTO note VALUES (%s)", [word])


def test_it_answers_once_it_has_started_and_not_once_it_has_stopped(server: Postgres) -> None:
    url = server.url()
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT 1").fetchone()

    server.stop()

    assert row == (1,)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL])
def test_its_data_are_kept_however_it_ends(server: Postgres, how: signal.Signals) -> None:
    take_note(server, how.name)

    server.stop(how)
    server.start()

    assert how.name in notes(server)


def test_another_instance_on_the_same_folder_finds_the_data(server: Postgres) -> None:
    take_note(server, "handed on")
    server.stop()

    other = Postgres(server.folder, durable=False)
    other.start()
    found = notes(other)
    other.stop()

    assert "handed on" in found


def test_a_second_server_on_the_folder_is_refused_clearly_and_the_first_goes_on(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "IN_USE_SECONDS", 0.2)
    take_note(server, "undisturbed")
    second = Postgres(server.folder, durable=False)

    with pytest.raises(InUse, match=r"a server runs on .* already: stop that one, or use another folder"):
        second.start()
    second.stop()

    assert "undisturbed" in notes(server)


def test_a_server_that_is_about_to_end_is_waited_for(server: Postgres) -> None:
    take_note(server, "waited for")
    assert server.process
    first, server.process = server.process, None
    first.send_signal(signal.SIGINT)

    server.start()

    assert "waited for" in notes(server)
    assert first.wait(10) == 0


def test_it_listens_on_a_socket_that_only_its_owner_can_open(server: Postgres) -> None:
    assert server.process
    listening = [one for one in psutil.Process(server.process.pid).net_connections("inet") if one.status == "LISTEN"]

    assert listening == []
    assert stat.S_IMODE(server.sockets.stat().st_mode) == 0o700


def test_it_does_not_run_as_root(server: Postgres) -> None:
    assert server.process

    assert psutil.Process(server.process.pid).uids().real != 0


def test_a_database_is_made_once_when_its_url_is_asked_for(server: Postgres) -> None:
    urls = {server.url("another one") for _ in range(2)}

    with psycopg.connect(server._url("postgres")) as connection:
        row = connection.execute("SELECT count(*) FROM pg_database WHERE datname = 'another one'").fetchone()
    assert (len(urls), row) == (1, (1,))


def test_a_folder_that_was_left_half_made_is_made_again() -> None:
    with a_folder() as folder:
        (folder / "postgres" / "data" / "base").mkdir(parents=True)
        server = Postgres(folder / "postgres", durable=False)

        server.start()
        take_note(server, "made again")
        found = notes(server)
        server.stop()

    assert found == ["made again"]


def test_a_deep_folder_gets_its_sockets_elsewhere() -> None:
    with a_folder() as folder:
        server = Postgres(folder / ("deep" * 20) / "postgres", durable=False)
        server.start()
        take_note(server, "far down")
        found = notes(server)
        server.stop()
        server.sockets.rmdir()

    assert found == ["far down"]
    assert len(str(server.sockets)) < 90


def test_settings_that_make_no_sense_are_reported_with_the_servers_own_words(
    monkeypatch: pytest.MonkeyPatch, server: Postgres
) -> None:
    server.stop()
    monkeypatch.setattr(server, "_tuning", lambda: ["shared_buffers=plenty"])

    with pytest.raises(DidNotStart, match="shared_buffers"):
        server.start()
    server.stop()


def test_the_servers_of_the_wheels_work_too() -> None:
    with a_postgres(from_wheel=True) as server:
        take_note(server, "from a wheel")
        with psycopg.connect(server.url()) as connection:
            row = connection.execute("SHOW server_version_num").fetchone()
        found = notes(server)

    assert row
    assert int(row[0]) >= 150_000
    assert found == ["from a wheel"]


def test_it_ends_with_the_process_that_started_it() -> None:
    script = (
        "import sys, time; from pathlib import Path; from embedded.postgres import Postgres;"
        "server = Postgres(Path(sys.argv[1]), durable=False); server.start(); print(server.process.pid, flush=True);"
        "time.sleep(60)"
    )
    with a_folder() as folder, _python(script, folder / "postgres") as parent:
        assert parent.stdout
        server = psutil.Process(int(parent.stdout.readline()))

        parent.kill()

        wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)


def _python(script: str, folder: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT)


def test_it_compresses_its_log_in_the_cheapest_way_that_its_build_has(server: Postgres) -> None:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute("SELECT setting, enumvals FROM pg_settings WHERE name = 'wal_compression'").fetchone()

    assert row is not None
    assert row[0] == ("lz4" if "lz4" in row[1] else "pglz")
