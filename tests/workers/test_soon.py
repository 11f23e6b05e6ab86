"""What a door has committed is queued soon after: gathered, bounded, and never in an answer's way."""

import threading
from collections.abc import Sequence

import pytest
import redis

from tests.concurrency import wait_until
from workers import soon
from workers.soon import Gatherer


def test_ids_of_a_moment_go_together_each_once_in_their_order() -> None:
    sent: list[Sequence[str]] = []
    gatherer = Gatherer(sent.append)

    for number in range(100):
        gatherer.add([f"a{number}", f"b{number}"])
    gatherer.close()

    assert [each for ids in sent for each in ids] == [f"{kind}{number}" for number in range(100) for kind in "ab"]
    assert len(sent) < 100


@pytest.mark.parametrize("error", [redis.ConnectionError("away"), ZeroDivisionError()])
def test_what_could_not_be_sent_keeps_nothing_after_it_from_leaving(error: Exception) -> None:
    calls: list[Sequence[str]] = []

    def send(ids: Sequence[str]) -> None:
        calls.append(ids)
        if len(calls) == 1:
            raise error

    gatherer = Gatherer(send)
    gatherer.add(["a"])
    wait_until(lambda: len(calls) == 1)
    gatherer.add(["b"])
    gatherer.close()

    assert calls == [["a"], ["b"]]


def test_a_queue_that_hangs_holds_up_nobody_and_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soon, "MOST_WAITING", 100)
    may_go, hanging = threading.Event(), threading.Event()
    sent: list[Sequence[str]] = []

    def send(ids: Sequence[str]) -> None:
        hanging.set()
        may_go.wait(20)
        sent.append(ids)

    gatherer = Gatherer(send)
    gatherer.add(["first"])
    assert hanging.wait(20)
    for number in range(1000):
        gatherer.add([f"{number}"])
    may_go.set()
    gatherer.close()

    assert [each for ids in sent for each in ids] == ["first", *(f"{number}" for number in range(100))]


def test_closing_twice_or_without_anything_sent_is_nothing() -> None:
    soon.close()
    soon.close()
