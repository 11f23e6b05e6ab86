"""Let go of what has had its time, in small steps: nobody waits for it, and no lock is held for long."""

from datetime import UTC, datetime

import structlog

from models.database import transaction
from payouts.remember import MOST_PRUNED, prune

_log = structlog.get_logger(__name__)


def forget_answers() -> None:
    """Forget the answers of idempotency that are old enough, a thousand per transaction."""
    gone = 0
    while True:
        with transaction() as session:
            step = prune(session, datetime.now(UTC))
        gone += step
        if step < MOST_PRUNED:
            break
    if gone:
        _log.info("answers.forgotten", number=gone)
