"""Public ids: no two are alike, whoever makes them, and they sort by when they were made."""

import os
import re
from datetime import UTC, datetime, timedelta

from models.ids import RANDOM_BYTES, first_id, new_id
from tests.concurrency import at_once


def _random_part(made: str) -> str:
    return made[-2 * RANDOM_BYTES :]


def test_an_id_is_its_prefix_its_time_and_what_nobody_guesses() -> None:
    assert re.fullmatch(r"pay_[0-9a-f]{12}[0-9a-f]{16}", new_id("pay"))


def test_an_id_sorts_between_the_moments_around_it() -> None:
    now = datetime.now(UTC)

    made = new_id("pay")

    assert first_id("pay", now - timedelta(seconds=1)) < made < first_id("pay", now + timedelta(minutes=1))


def test_threads_that_make_ids_at_once_never_make_the_same() -> None:
    made = at_once(*[lambda: [_random_part(new_id("pay")) for _ in range(5_000)]] * 4)

    assert len({each for of_one in made for each in of_one}) == 20_000


def test_a_forked_process_does_not_repeat_what_its_parent_makes() -> None:
    new_id("pay")  # so that random numbers are at hand
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "".join(_random_part(new_id("pay")) for _ in range(100)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        of_the_child = said.read()
    os.waitpid(child, 0)

    of_the_parent = {_random_part(new_id("pay")) for _ in range(100)}

    assert len(of_the_child) == 100 * 2 * RANDOM_BYTES
    assert not [each for each in of_the_parent if each in of_the_child]
