"""The queue: Dramatiq on Redis, woken rather than polled. Messages carry ids only; PostgreSQL is the truth.

Dramatiq's own Redis consumer sleeps up to a second between looks at an empty queue. Ours waits on a list that every
enqueue pushes a token to, so an idle worker starts within a millisecond or two.
"""

import threading
from typing import Any, Final

import redis
from dramatiq import Message, MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import BrokerConnectionError
from dramatiq.middleware import Middleware, ShutdownNotifications
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from settings import settings

NAMESPACE: Final = "ratchet"
HEARTBEAT_TIMEOUT_MS: Final = 5_000
"""A worker silent for this long is dead and its messages run elsewhere. Shorter, and a busy one would seem dead."""
ALWAYS: Final = 1_000_000
"""Per million. With Dramatiq's default of 1,000 a killed worker's messages waited minutes on an idle queue."""
DEAD_MESSAGE_TTL_MS: Final = 3_600_000
WAKE_SECONDS: Final = 1
MOST_TOKENS: Final = 31
FULL_WAIT_SECONDS: Final = 0.05
SOCKET_TIMEOUT_SECONDS: Final = 3.0

QueueAway = (redis.RedisError, OSError, BrokerConnectionError)
"""What sending a message raises while Redis is away."""


class WakingBroker(RedisBroker):
    """A RedisBroker that rings a bell with every message."""

    @property
    def consumer_class(self) -> type["WakingConsumer"]:
        """Name the consumer that listens to the bell."""
        return WakingConsumer

    def bell(self, queue_name: str) -> str:
        """Return the key of a queue's bell."""
        return f"{self.namespace}:{queue_name}.bell"

    def enqueue(self, message: "Message[Any]", *, delay: int | None = None) -> "Message[Any]":
        """Enqueue, then ring."""
        enqueued: Message[Any] = super().enqueue(message, delay=delay)
        bell = self.bell(message.queue_name)
        ring = self.client.pipeline(transaction=False)
        ring.lpush(bell, 1)
        ring.ltrim(bell, 0, MOST_TOKENS)
        ring.execute()
        return enqueued


class WakingConsumer(_RedisConsumer):
    """Fetches as its parent does, but waits for the bell instead of sleeping."""

    def __init__(self, broker: WakingBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        """Listen to one queue."""
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        self._bell = broker.bell(queue_name)
        self._room = threading.Event()

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge, and let the consumer thread know that there is room again."""
        super().ack(message)  # type: ignore[no-untyped-call]
        self._room.set()

    def nack(self, message: MessageProxy) -> None:
        """Reject, likewise."""
        super().nack(message)  # type: ignore[no-untyped-call]
        self._room.set()

    def __next__(self) -> MessageProxy | None:
        """Return the next message, or None after a wait."""
        if not self.message_cache:
            room = self.prefetch - self.outstanding_message_count
            try:
                self.message_cache = self.broker.do_fetch(self.queue_name, room) if room > 0 else []
                if not self.message_cache:
                    self._wait(has_room=room > 0)
                    return None
            except redis.ConnectionError as error:
                raise BrokerConnectionError(error) from None  # type: ignore[no-untyped-call]
        message: Message[Any] = Message.decode(self.message_cache.pop(0))
        self.queued_message_ids.add(message.message_id)
        return MessageProxy(message)

    def _wait(self, *, has_room: bool) -> None:
        if not has_room:
            self._room.wait(FULL_WAIT_SECONDS)
            self._room.clear()
        else:
            self.broker.client.brpop(self._bell, timeout=WAKE_SECONDS)


class ReportsFailures(Middleware):
    """Drops a failed message: what it stood for is committed, and the sweep queues it again within seconds."""

    def after_process_message(
        self, broker: Any, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Mark it failed, so that Dramatiq does not keep it as done."""
        del broker, result
        if exception is not None:
            message.fail()


def _broker() -> WakingBroker:
    client = redis.Redis.from_url(
        settings().redis_url,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        retry=Retry(ConstantBackoff(0.05), 1),  # redis-py's ten retries would send the same message ten times
    )
    return WakingBroker(  # type: ignore[no-untyped-call]
        client=client,
        namespace=NAMESPACE,
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=ALWAYS,
        dead_message_ttl=DEAD_MESSAGE_TTL_MS,
        middleware=[ShutdownNotifications(), ReportsFailures()],
    )


broker: Final = _broker()


def backlog(queue_name: str) -> int:
    """Return how many messages nobody has taken yet. Raises one of `QueueAway` while Redis is away."""
    return int(broker.client.llen(f"{NAMESPACE}:{queue_name}"))
