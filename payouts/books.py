"""The proof of the books: entries sum to zero, balances equal their entries, holds equal open payouts.

The database keeps all three as it goes (migration 0004). This looks at the result from outside, in one snapshot, and
mends nothing: what is wrong here was written past every rule, and a person has to know.

A whole proof reads the whole ledger. One that found nothing leaves a base, and for a day the proofs after it read only
what was added since: entries are never changed, so what has been proven stays proven, and what changes it past that
rule is found by the next whole one. Whatever does not agree with the base is looked at again as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, text
from sqlmodel import Session

from models.lifecycle import IN_FLIGHT, PayoutStatus
from models.rows import as_json
from payouts.discrepancies import ADDED_UP, NOTHING_YET, Base, look

MOST_TOLD: Final = 50

LOOKED_BACK: Final = timedelta(days=2)
"""Payouts that are over are looked at for so long; those that still hold money, always."""

WHOLE_EVERY: Final = timedelta(days=1)
"""Shorter than `LOOKED_BACK`: what was in flight under the base is so still, or is looked at, until the next one."""

SETTLES: Final = timedelta(hours=1)
"""Numbers are given to entries before their commit. After so long no transaction can bring one from below any more; one
that does all the same does not agree with the base, and is looked at as a whole."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found."""

    violations: tuple[str, ...]
    waiting: tuple[str, ...]
    """Payouts that are over and still hold money, and that nobody asks about any more: for a person."""
    base: Base | None = field(default=None, compare=False, repr=False)
    """Of a whole proof that found nothing."""
    is_whole: bool = field(default=False, compare=False)


def prove(session: Session, now: datetime) -> Proof:
    """Look at all books. The session must be fresh: the proof needs one snapshot for all its questions."""
    connection = _one_snapshot(session)
    violations, stands = look(connection, NOTHING_YET, now - LOOKED_BACK)
    base = None if violations else _base(connection, stands, now)
    return Proof(violations, _waiting(stands), base, is_whole=True)


def prove_newest(session: Session, now: datetime) -> Proof | None:
    """Look at what was added since the last whole proof; None when only a whole one will tell. Likewise fresh."""
    connection = _one_snapshot(session)
    row = connection.execute(_BASE, {"oldest": now - WHOLE_EVERY}).one_or_none()
    if row is None:
        return None
    violations, stands = look(connection, Base(*row), now - LOOKED_BACK)
    return None if violations else Proof((), _waiting(stands))


def keep(session: Session, proof: Proof, now: datetime) -> None:
    """Put the result where metrics, the operators' page and the next proof find it."""
    result = {
        "violations": as_json(proof.violations[:MOST_TOLD]),
        "number": len(proof.violations),
        "waiting": as_json(proof.waiting[:MOST_TOLD]),
        "now": now,
    }
    session.connection().execute(_KEEP, result)
    if proof.is_whole:
        session.connection().execute(_NO_BASE)
    if base := proof.base:
        kept = {"now": now, "up_to": base.up_to, "sums": base.sums, "holders": base.holders}
        session.connection().execute(_KEEP_BASE, kept)


def _one_snapshot(session: Session) -> Connection:
    return session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def _base(connection: Connection, stands: Sequence[Any], now: datetime) -> Base:
    up_to = connection.execute(_SETTLED, {"settled": now - SETTLES}).scalar_one()
    sums = connection.execute(_SUMS, {"up_to": up_to}).scalar_one()
    holders = [row.id for row in stands if row.held and PayoutStatus(row.status) not in IN_FLIGHT]
    return Base(up_to, sums, as_json(holders))


def _waiting(stands: Sequence[Any]) -> tuple[str, ...]:
    return tuple(row.id for row in stands if _waits(row))


def _waits(row: Any) -> bool:
    is_over = PayoutStatus(row.status) not in IN_FLIGHT
    is_open = row.held > 0 or (row.status == PayoutStatus.RETURNED and row.out > 0)
    return is_over and is_open and (row.next_poll_at is None or row.is_disputed)


_BASE: Final = text("SELECT up_to, CAST(sums AS text), CAST(holders AS text) FROM books_base WHERE proven_at > :oldest")
_SETTLED: Final = text("SELECT coalesce(max(id), 0) FROM ledger_entry WHERE created_at < :settled")
_SUMS: Final = text(
    f"""
    SELECT CAST(coalesce(jsonb_agg(to_jsonb(sums)), '[]') AS text)
    FROM ({ADDED_UP} WHERE id <= :up_to GROUP BY balance_id) sums
    """  # noqa: S608 (our own words)
)

_KEEP: Final = text(
    """
    INSERT INTO books_check (id, checked_at, violations, number, waiting)
    VALUES (1, :now, CAST(:violations AS jsonb), :number, CAST(:waiting AS jsonb))
    ON CONFLICT (id) DO UPDATE SET checked_at = excluded.checked_at, violations = excluded.violations,
        number = excluded.number, waiting = excluded.waiting
    """
)
_NO_BASE: Final = text("DELETE FROM books_base")
_KEEP_BASE: Final = text(
    """
    INSERT INTO books_base (id, proven_at, up_to, sums, holders)
    VALUES (1, :now, :up_to, CAST(:sums AS jsonb), CAST(:holders AS jsonb))
    """
)
