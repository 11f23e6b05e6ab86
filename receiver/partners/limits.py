"""How often one key may ask: GCRA, a leaky bucket that needs one number per key.

Each process has a bucket of its own in memory, which answers without waiting for anybody; Redis has the one that all
processes share. While Redis is away the first one goes on alone: Redis is only speed, here too.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from settings import settings

WINDOW_SECONDS: Final = 10.0
"""What a key may ask in one window it may also ask in one burst."""
MOST_REMEMBERED: Final = 10_000
REDIS_SECONDS: Final = 0.25
"""Longer than this a request does not wait to be counted."""
AWAY_SECONDS: Final = 2.0
"""How long Redis is left alone after it did not answer."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a key's quota."""

    remaining: int
    reset_seconds: int
    """Until all of it is back."""
    wait_seconds: int = 0
    """Until the next request may come; 0 when this one may."""

    @property
    def headers(self) -> dict[str, str]:
        """Return it as draft-ietf-httpapi-ratelimit-headers-10 writes it."""
        return {
            "ratelimit-policy": f'"key";q={quota()};w={WINDOW_SECONDS:.0f}',
            "ratelimit": f'"key";r={self.remaining};t={self.reset_seconds}',
        }


def quota() -> int:
    """Return how many requests a key has per window."""
    return max(1, round(settings().requests_per_second * WINDOW_SECONDS))


def weigh(due: float, now: float) -> tuple[Allowance, float]:
    """Count one request against a bucket that is empty again at `due`; return what is left, and the new `due`."""
    each = WINDOW_SECONDS / quota()
    after = max(due, now) + each
    wait = after - now - WINDOW_SECONDS
    if wait > each * 1e-6:
        return Allowance(0, _up(due - now), _up(wait)), due
    return Allowance(int((now + WINDOW_SECONDS - after) / each + 1e-6), _up(after - now)), after


class OwnBuckets:
    """This process's buckets."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._due: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str) -> Allowance:
        """Count one request."""
        now = self._clock()
        with self._lock:
            allowance, self._due[name] = weigh(self._due.get(name, now), now)
            self._due.move_to_end(name)
            if len(self._due) > MOST_REMEMBERED:
                self._due.popitem(last=False)
        return allowance


class SharedBuckets:
    """The buckets that all processes share, in Redis."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells how long Redis has been away; the buckets themselves run by Redis's own."""
        self._clock = clock
        self._away_until = 0.0
        self._client = redis.Redis.from_url(
            settings().redis_url,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._take: Any = self._client.register_script(_GCRA)

    def take(self, name: str) -> Allowance | None:
        """Count one request, or return None while Redis does not answer."""
        if self._clock() < self._away_until:
            return None
        each_us = int(WINDOW_SECONDS * 1_000_000 / quota())
        try:
            remaining, reset_us, wait_us = self._take(
                keys=[f"ratchet:limit:{name}"], args=[each_us, int(WINDOW_SECONDS * 1_000_000)]
            )
        except (redis.RedisError, OSError) as error:
            self._away_until = self._clock() + AWAY_SECONDS
            _log.warning("limits.redis_away", error=type(error).__name__)
            return None
        return Allowance(int(remaining), _up(int(reset_us) / 1e6), _up(int(wait_us) / 1e6))


def _up(seconds: float) -> int:
    return max(0, int(-(-seconds // 1)))


_GCRA: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local each, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = tonumber(redis.call('GET', KEYS[1]) or now)
local after = math.max(due, now) + each
local wait = after - now - window
if wait > 0 then
    return {0, due - now, wait}
end
redis.call('SET', KEYS[1], string.format('%d', after), 'PX', math.ceil((after - now) / 1000))
return {math.floor((now + window - after) / each), after - now, 0}
"""
