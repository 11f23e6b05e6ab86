"""`ratchet` from the outside: what commonly goes wrong ends in one line that tells how to mend it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

import cli
import settings
from cli import main
from embedded.postgres import Postgres
from embedded.redis import Redis
from models import database
from models.database import transaction
from tests.factories import an_endpoint

GivesUp = Callable[..., str]


@pytest.fixture
def gives_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> GivesUp:
    """Give a way to run a command that must fail, and to read what it says."""

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["ratchet", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        return capsys.readouterr().err

    return run


@pytest.fixture
def another_database(servers: tuple[Postgres, Redis]) -> Iterator[None]:
    """Move this process to an empty database of its own."""
    settings.adopt({"DATABASE_URL": servers[0].url("behind")})
    database.hang_up()
    yield
    with transaction() as session:
        session.connection().execute(text("DROP TABLE IF EXISTS integration"))


def test_a_secret_whose_key_is_lost_is_told_with_the_way_out(
    database: None, gives_up: GivesUp, lose_keys: Callable[[], None]
) -> None:
    endpoint = an_endpoint(schemes=["v1a"])
    lose_keys()

    said = gives_up("endpoints", "show", endpoint.id)

    assert "RATCHET_SECRET_KEYS" in said
    assert "docs/runbook.md" in said


@pytest.mark.parametrize("made", ["SELECT 1", "CREATE TABLE integration (id bigint)"])
def test_a_database_behind_the_code_is_told_to_be_migrated(
    another_database: None, gives_up: GivesUp, made: str
) -> None:
    with transaction() as session:
        session.connection().execute(text(made))

    assert "ratchet migrate" in gives_up("gateways", "list")


@pytest.mark.parametrize(("command", "joins"), [("up", False), ("demo", False), ("stuck", True)])
def test_whoever_starts_servers_joins_nobody_that_may_be_dead(
    monkeypatch: pytest.MonkeyPatch, command: str, *, joins: bool
) -> None:
    joined: list[Path] = []
    monkeypatch.setattr(cli, "join_running", joined.append)

    assert CliRunner().invoke(cli.ratchet, [command, "--help"]).exit_code == 0

    assert bool(joined) is joins
