"""One process, one engine."""

import threading
from concurrent.futures import ThreadPoolExecutor

from models.database import engine, hang_up


def test_threads_that_are_first_together_get_the_same_engine() -> None:
    hang_up()
    together = threading.Barrier(8)

    def ask() -> int:
        together.wait(10)
        return id(engine())

    with ThreadPoolExecutor(8) as pool:
        engines = {asked.result() for asked in [pool.submit(ask) for _ in range(8)]}

    assert len(engines) == 1


def test_after_hanging_up_the_next_caller_gets_another_engine() -> None:
    before = engine()

    hang_up()

    assert engine() is not before
