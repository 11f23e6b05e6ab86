"""One of a kind per process."""

import threading

from tests.concurrency import at_once, wait_until
from workers.once import Once
from workers.outside import Outside


def test_threads_that_come_first_together_get_the_same_thing() -> None:
    together = threading.Semaphore(0)
    made: list[object] = []

    def make() -> object:
        together.acquire(timeout=0.05)  # long enough for all of them to be here
        made.append(object())
        return made[-1]

    once = Once(make)

    got = at_once(*[once] * 8)

    assert len(made) == 1
    assert set(map(id, got)) == {id(made[0])}


def test_nothing_is_made_before_it_is_needed_and_another_one_after_it_was_forgotten() -> None:
    once = Once(object)
    before = once.made

    first = once()
    forgotten, twice = once.forget(), once.forget()

    assert (before, forgotten, twice) == (None, first, None)
    assert once() is not first


def test_an_outside_that_is_closed_leaves_no_thread() -> None:
    outside = Outside()
    ran = threading.Event()

    async def call() -> None:
        ran.set()

    outside.start(1, call())
    wait_until(ran.is_set)
    outside.close()

    assert not outside._thread.is_alive()
    assert outside._loop.is_closed()
