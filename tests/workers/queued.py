"""What the reconciler has queued, for tests that work it off themselves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dramatiq

from models.database import transaction
from models.payout import Payout
from workers.broker import NAMESPACE, broker


def make_due(*payouts: Payout) -> None:
    with transaction() as session:
        for payout in payouts:
            session.get_one(Payout, payout.id).next_poll_at = datetime.now(UTC) - timedelta(seconds=1)


def messages(queue: str) -> list[tuple[Any, ...]]:
    """Return the arguments of a queue's messages, oldest first."""
    keys = reversed(broker.client.lrange(f"{NAMESPACE}:{queue}", 0, -1))
    return [dramatiq.Message.decode(broker.client.hget(f"{NAMESPACE}:{queue}.msgs", key)).args for key in keys]
