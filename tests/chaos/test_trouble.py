"""The troubles do what they say."""

from types import SimpleNamespace
from typing import Any

import redis

from tests.chaos.trouble import crash_redis
from tests.servers import a_redis


def test_a_crashed_redis_comes_back_and_knows_nothing() -> None:
    with a_redis() as server, redis.Redis.from_url(server.url) as connection:
        connection.set("message", "1")
        left = server.folder / "appendonlydir" / "appendonly.aof.7.manifest"  # Redis 7 leaves such
        left.parent.mkdir(exist_ok=True)
        left.touch()
        stage: Any = SimpleNamespace(house=SimpleNamespace(redis=server))

        crash_redis(stage)

        assert connection.get("message") is None
        assert not left.exists()
