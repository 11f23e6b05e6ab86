"""One process, one engine."""

from models.database import engine, hang_up
from tests.concurrency import at_once


def test_threads_that_are_first_together_get_the_same_engine() -> None:
    hang_up()

    engines = at_once(*[engine] * 8)

    assert len({id(made) for made in engines}) == 1


def test_after_hanging_up_the_next_caller_gets_another_engine() -> None:
    before = engine()

    hang_up()

    assert engine() is not before
