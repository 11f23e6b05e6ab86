"""Send tasks to the naive worker from a process that has its own broker."""

from collections.abc import Callable, Sequence
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.place import Place


def send_naive_apply(place: Place) -> Callable[[Sequence[int]], None]:
    """Return what sends one task per inbox event."""
    return _sender(place, "naive-apply", "apply_event")


def send_naive_deliver(place: Place) -> Callable[[Sequence[str]], None]:
    """Return what sends one task per delivery."""
    return _sender(place, "naive-deliver", "deliver")


def _sender(place: Place, queue: str, actor: str) -> Callable[[Sequence[Any]], None]:
    broker = RedisBroker(url=place.redis_url)  # type: ignore[no-untyped-call]
    broker.declare_queue(queue)

    def send(ids: Sequence[Any]) -> None:
        for each in ids:
            broker.enqueue(dramatiq.Message(queue_name=queue, actor_name=actor, args=(each,), kwargs={}, options={}))

    return send
