"""One process, one engine."""

from typing import cast

import psycopg

from models.database import KEEPALIVES, engine, hang_up
from tests.concurrency import at_once


def test_threads_that_are_first_together_get_the_same_engine() -> None:
    hang_up()

    engines = at_once(*[engine] * 8)

    assert len({id(made) for made in engines}) == 1


def test_after_hanging_up_the_next_caller_gets_another_engine() -> None:
    before = engine()

    hang_up()

    assert engine() is not before


def test_a_network_that_swallows_packets_is_given_up_within_seconds() -> None:
    with engine().connect() as connection:
        asked_for = cast("psycopg.Connection[object]", connection.connection.dbapi_connection).info.get_parameters()

    silent_for = {name: int(asked_for.get(name, 0)) for name in KEEPALIVES}
    assert silent_for == dict(KEEPALIVES)
    idle, between, times = (silent_for[f"keepalives_{name}"] for name in ("idle", "interval", "count"))
    assert idle + between * times < 15
    assert silent_for["tcp_user_timeout"] < 15_000
