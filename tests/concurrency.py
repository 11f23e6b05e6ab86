"""Two workers in one test: calls that start together, and waiting for a condition with a limit."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from sqlalchemy import text

from models.database import engine

LIMIT_SECONDS: Final = 20.0

_Result = TypeVar("_Result")


def at_once(*calls: Callable[[], _Result]) -> list[_Result]:
    """Run the calls in a thread each, started together; return what they return, or raise what one raises."""
    barrier = threading.Barrier(len(calls))

    def start(call: Callable[[], _Result]) -> _Result:
        barrier.wait(LIMIT_SECONDS)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        running = [pool.submit(start, call) for call in calls]
        return [future.result(LIMIT_SECONDS) for future in running]


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; fail when it takes too long."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def somebody_waits_for_a_lock() -> bool:
    """Tell whether a connection of ours waits for another one's lock."""
    with engine().connect() as connection:
        return bool(connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())
