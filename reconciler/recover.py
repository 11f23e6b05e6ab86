"""Work off the recoveries that partners and operators have asked for, a piece of each in turn."""

import time
from datetime import UTC, datetime
from typing import Final

import structlog

from models.database import transaction
from payouts.recover import step
from workers.broker import backlog
from workers.deliver import QUEUE, send_deliver

EVERY_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 0.8
"""At a stretch; the next run goes on."""
LONGEST_BACKLOG: Final = 100
"""Messages. While the workers have this much to do, history waits."""

_log = structlog.get_logger(__name__)


def work_off_recoveries() -> None:
    """Take step after step, each a transaction of its own, until there is nothing to do or the time is up."""
    deadline = time.monotonic() + LONGEST_SECONDS
    owed = 0
    while time.monotonic() < deadline and backlog(QUEUE) <= LONGEST_BACKLOG:
        with transaction() as session:
            stepped = step(session, datetime.now(UTC))
        if stepped is None:
            break
        owed += len(stepped.deliveries)
        send_deliver(stepped.deliveries)
    if owed:
        _log.info("recovery.owed", deliveries=owed)
