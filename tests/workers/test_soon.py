"""What is queued soon is queued: in few messages, whatever the queue does, and before the process ends."""

import threading
from collections.abc import Sequence

import pytest
import redis
from structlog.testing import capture_logs

from workers import soon
from workers.soon import Gatherer


def test_what_comes_while_another_message_is_under_way_goes_in_one() -> None:
    sent: list[list[str]] = []
    under_way, go_on = threading.Event(), threading.Event()

    def send(ids: Sequence[str]) -> None:
        sent.append(list(ids))
        under_way.set()
        assert go_on.wait(5)

    gatherer = Gatherer(send)
    gatherer.add(["a"])
    assert under_way.wait(5)
    for each in ("b", "c", "d"):
        gatherer.add([each])
    go_on.set()
    gatherer.close()

    assert sent == [["a"], ["b", "c", "d"]]


@pytest.mark.parametrize("error", [redis.ConnectionError("away"), ZeroDivisionError("planted")])
def test_a_message_that_is_lost_keeps_no_later_one_back(error: Exception) -> None:
    sent: list[str] = []
    failed = threading.Event()

    def send(ids: Sequence[str]) -> None:
        if not failed.is_set():
            failed.set()
            raise error
        sent.extend(ids)

    gatherer = Gatherer(send)
    gatherer.add(["lost"])
    assert failed.wait(5)
    gatherer.add(["sent"])
    gatherer.close()

    assert sent == ["sent"]


def test_a_queue_that_hangs_holds_up_nobody_and_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soon, "MOST_WAITING", 100)
    may_go, hanging = threading.Event(), threading.Event()
    sent: list[str] = []

    def send(ids: Sequence[str]) -> None:
        hanging.set()
        assert may_go.wait(5)
        sent.extend(ids)

    with capture_logs() as lines:
        gatherer = Gatherer(send)
        gatherer.add(["first"])
        assert hanging.wait(5)
        for number in range(1000):
            gatherer.add([f"{number}"])
        may_go.set()
        gatherer.close()

    assert sent == ["first", *(f"{number}" for number in range(100))]
    assert [line["ids"] for line in lines if line["event"] == "soon.left_to_sweep"] == [900]
