"""A Redis of our own."""

import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from embedded import processes
from embedded.processes import InUse
from embedded.redis import Redis
from tests.servers import a_folder, a_redis


@pytest.fixture
def server() -> Iterator[Redis]:
    with a_redis() as server:
        yield server


def client(server: Redis) -> redis.Redis:
    return redis.Redis.from_url(server.url, retry=None, decode_responses=True)


def test_it_answers_once_it_has_started_and_not_once_it_has_stopped(server: Redis) -> None:
    with client(server) as connection:
        answered = connection.ping()

    server.stop()

    assert answered
    with client(server) as connection, pytest.raises(redis.ConnectionError):
        connection.ping()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_its_data_are_kept_however_it_ends(server: Redis, how: signal.Signals) -> None:
    with client(server) as connection:
        connection.set("how", how.name)

    server.stop(how)
    server.start()

    with client(server) as connection:
        assert connection.get("how") == how.name


def test_a_second_server_on_the_folder_is_refused_clearly_and_the_first_goes_on(
    server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "IN_USE_SECONDS", 0.2)
    with client(server) as connection:
        connection.set("word", "undisturbed")
    second = Redis(server.folder)

    with pytest.raises(InUse, match="a server runs on"):
        second.start()
    second.stop()

    with client(server) as connection:
        assert connection.get("word") == "undisturbed"


def test_it_listens_on_a_socket_that_only_its_owner_can_open(server: Redis) -> None:
    assert server.process
    listening = [one for one in psutil.Process(server.process.pid).net_connections("inet") if one.status == "LISTEN"]

    assert listening == []
    assert stat.S_IMODE(Path(server.url.removeprefix("unix://")).stat().st_mode) == 0o700


def test_it_never_forgets_a_message_to_make_room(server: Redis) -> None:
    with client(server) as connection:
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_deep_folder_gets_its_socket_elsewhere() -> None:
    with a_folder() as folder:
        server = Redis(folder / ("deep" * 25))
        server.start()
        with client(server) as connection:
            answered = connection.ping()
        server.stop()

    assert answered


def test_the_server_of_the_wheel_works_too() -> None:
    with a_redis(from_wheel=True) as server, client(server) as connection:
        assert connection.ping()
