"""A whole house: servers where none are given, keys that stay, and what other commands need to know."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from embedded.crew import Crew
from embedded.house import ENVIRONMENT, join_running
from tests.concurrency import wait_until
from tests.servers import a_folder, a_process, log_of

VISIT = """
import json, sys, os
from pathlib import Path
from embedded.house import House, join_running
from models import schema
import redis, settings
folder = Path(sys.argv[1])
with House(folder, durable=False) as house:
    schema.migrate()
    client = redis.Redis.from_url(house.environment["REDIS_URL"])
    told = dict(house.environment, migrated=schema.present(), ping=client.ping(), visits=client.incr("visits"))
    told["mode"] = (folder / "environment").stat().st_mode
    told["password"] = house.operator_password()[0]
    told["own"] = [house.postgres is not None, house.redis is not None]
print("told " + json.dumps(told), flush=True)
print("left " + json.dumps((folder / "environment").exists()), flush=True)
"""

NOT_GIVEN = {"DATABASE_URL": "", "REDIS_URL": "", "RATCHET_SECRET_KEYS": ""}


def visit(folder: Path, **environment: str) -> dict[str, Any]:
    """Bring a house up and down in a process of its own, and return what it told."""
    with a_process("-c", VISIT, str(folder), **environment) as process:
        assert process.wait(60) == 0, log_of(process)
        said = dict(line.split(" ", 1) for line in log_of(process).splitlines() if line.startswith(("told ", "left ")))
    assert json.loads(said["left"]) is False
    told: dict[str, Any] = json.loads(said["told"])
    return told


@pytest.mark.parametrize("kind", ["", "wheels"])
def test_a_house_stands_comes_down_and_stands_again_as_it_was(kind: str) -> None:
    with a_folder() as folder:
        first, second = (visit(folder / "home", **NOT_GIVEN, RATCHET_EMBEDDED=kind) for _ in range(2))
        private = [
            stat.S_IMODE((folder / "home" / name).stat().st_mode) for name in ("secret-key", "operator-password")
        ]

    assert first["migrated"]
    assert (first["visits"], second["visits"]) == (1, 2)
    assert [stat.S_IMODE(first["mode"]), *private] == [0o600] * 3
    for name in ("RATCHET_SECRET_KEYS", "DATABASE_URL", "REDIS_URL", "password"):
        assert first[name] == second[name]


def test_servers_that_are_given_are_used_and_none_are_started(database: None) -> None:
    with a_folder() as folder:
        told = visit(folder / "home")
        made = {path.name for path in (folder / "home").iterdir()}

    assert told["own"] == [False, False]
    assert not made & {"postgres", "redis", "secret-key"}


def test_a_crew_runs_every_line_of_the_procfile_and_ends_only_its_own(tmp_path: Path) -> None:
    crew = Crew({}, tmp_path)
    crew.commands = {"one": "sleep 60", "two": "sleep 60", "three": "sh -c exit"}
    stranger = Crew({}, tmp_path / "stranger")
    stranger.commands = {"one": "sleep 60"}
    crew.start()
    stranger.start()

    wait_until(lambda: crew.ended() == {"three": 0})
    processes = list(crew.running.values())
    crew.stop()
    still = dict(stranger.ended())
    stranger.stop()

    assert all(process.returncode is not None for process in processes)
    assert still == {}


def test_the_procfile_has_the_processes_that_are_needed(tmp_path: Path) -> None:
    assert {"receiver", "worker", "reconciler"} <= set(Crew({}, tmp_path).commands)


# --- joining a house that runs


def a_running_house(folder: Path, **told: str) -> Path:
    """Leave the file that a running `ratchet up` leaves, and return its folder."""
    (folder / ENVIRONMENT).write_text("".join(f"{name}={value}\n" for name, value in told.items()))
    return folder


@pytest.fixture
def adopted(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what would be adopted, with nothing given to this process."""
    for name in NOT_GIVEN:
        monkeypatch.setenv(name, "")
    into: dict[str, str] = {}
    monkeypatch.setattr("settings.adopt", into.update)
    return into


UP = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h", "RATCHET_SECRET_KEYS": "made"}


def test_a_second_terminal_learns_everything_of_a_running_house(tmp_path: Path, adopted: dict[str, str]) -> None:
    assert join_running(a_running_house(tmp_path, **UP))
    assert adopted == UP


def test_a_second_terminal_that_was_given_the_same_database_learns_the_rest(
    tmp_path: Path, adopted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", UP["DATABASE_URL"])
    monkeypatch.setenv("REDIS_URL", "redis://other")

    assert join_running(a_running_house(tmp_path, **UP))
    assert adopted == {"RATCHET_SECRET_KEYS": "made"}


def test_whoever_was_given_another_database_learns_nothing(
    tmp_path: Path, adopted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/another")

    assert not join_running(a_running_house(tmp_path, **UP))
    assert adopted == {}


def test_where_no_house_runs_nothing_is_learned(tmp_path: Path, adopted: dict[str, str]) -> None:
    assert not join_running(tmp_path)
    assert adopted == {}
