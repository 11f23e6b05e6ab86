"""Prove the books: what the database keeps as it goes is looked at from outside."""

from datetime import UTC, datetime
from typing import Final

import structlog

from models.database import transaction
from payouts.books import MOST_TOLD, keep, prove, prove_newest

EVERY_SECONDS: Final = 300.0
"""It reads what was added in the last day; once a day, and whenever that does not agree, every ledger entry."""

_log = structlog.get_logger(__name__)


def prove_books() -> None:
    """Raise an alarm for everything that does not agree, and mend none of it. Metrics read what is kept."""
    now = datetime.now(UTC)
    with transaction() as session:
        proof = prove_newest(session, now)
    if proof is None:
        with transaction() as session:
            proof = prove(session, now)
    with transaction() as session:
        keep(session, proof, now)
    for violation in proof.violations[:MOST_TOLD]:
        _log.error("books.violated", violation=violation)
    if proof.waiting:
        _log.warning("books.money_waits", number=len(proof.waiting), first=proof.waiting[0])
