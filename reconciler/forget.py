"""Let go of what has had its time, in small steps: nobody waits for it, and no lock is held for long."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlmodel import Session

from models.database import transaction
from payouts import quotes
from payouts.remember import prune

MOST: Final = 1_000
"""Rows a transaction."""

_log = structlog.get_logger(__name__)


def forget_answers() -> None:
    """Forget the answers of idempotency that are old enough."""
    _forget("answers.forgotten", prune)


def forget_quotes() -> None:
    """Forget the quotes that ran out unused."""
    _forget("quotes.forgotten", quotes.forget_quotes)


def _forget(event: str, step: Callable[[Session, datetime, int], int]) -> None:
    gone, went = 0, MOST
    while went == MOST:
        with transaction() as session:
            went = step(session, datetime.now(UTC), MOST)
        gone += went
    if gone:
        _log.info(event, number=gone)
