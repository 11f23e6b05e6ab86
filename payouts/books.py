"""The proof of the books: entries sum to zero, balances equal their entries, holds equal open payouts.

The database keeps all three as it goes (migration 0004). This looks at the result from outside, in one snapshot, and
mends nothing: what is wrong here was written past every rule, and a person has to know.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from models.lifecycle import IN_FLIGHT, PayoutStatus
from payouts.ledger import STANDS, wanted_position
from payouts.position import Position
from payouts.standing import as_json

MOST_TOLD: Final = 50

LOOKED_BACK: Final = timedelta(days=2)
"""Payouts that are over are looked at for so long; those that still hold money, always."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found."""

    violations: tuple[str, ...]
    waiting: tuple[str, ...]
    """Payouts that are over and still hold money, and that nobody asks about any more: for a person."""


def prove(session: Session, now: datetime) -> Proof:
    """Look at all books. The session must be fresh: the proof needs one snapshot for all its questions."""
    connection = session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    violations = [_UNBALANCED_SAYS.format(**row._mapping) for row in connection.execute(_UNBALANCED)]  # noqa: SLF001
    violations += [_TOTALS_SAY.format(**row._mapping) for row in connection.execute(_TOTALS)]  # noqa: SLF001
    violations += [_ASTRAY_SAYS.format(**row._mapping) for row in connection.execute(_ASTRAY)]  # noqa: SLF001
    stands = connection.execute(_OPEN, {"since": now - LOOKED_BACK}).all()
    violations += _misplaced(stands)
    return Proof(tuple(violations), tuple(row.id for row in stands if _waits(row)))


def keep(session: Session, proof: Proof, now: datetime) -> None:
    """Put the result where metrics and the operators' page find it."""
    result = {
        "violations": as_json(proof.violations[:MOST_TOLD]),
        "number": len(proof.violations),
        "waiting": as_json(proof.waiting[:MOST_TOLD]),
        "now": now,
    }
    session.connection().execute(_KEEP, result)


def _misplaced(stands: Sequence[Any]) -> Iterator[str]:
    for row in stands:
        booked, wanted = Position(row.held, row.out, row.fees), wanted_position(row)
        if booked != wanted:
            yield f"payout {row.id} ({row.status}) is booked as {_words(booked)} and has to stand as {_words(wanted)}"


def _words(stands: Position) -> str:
    return f"held {stands.held}, out {stands.out}, fees {stands.fees}"


def _waits(row: Any) -> bool:
    is_over = PayoutStatus(row.status) not in IN_FLIGHT
    is_open = row.held > 0 or (row.status == PayoutStatus.RETURNED and row.out > 0)
    return is_over and is_open and (row.next_poll_at is None or row.is_disputed)


_UNBALANCED: Final = text(
    """
    SELECT transaction_id, balance_id, sum(amount_minor) AS off FROM ledger_entry
    GROUP BY transaction_id, balance_id HAVING sum(amount_minor) <> 0 ORDER BY transaction_id LIMIT 1000
    """
)
_UNBALANCED_SAYS: Final = "transaction {transaction_id} of balance {balance_id} sums to {off}, not to zero"

_TOTALS: Final = text(
    """
    SELECT b.id, b.balance_minor, b.held_minor, b.reserve_minor, b.overdraft_minor, e.own, e.held, e.reserve
    FROM balance b LEFT JOIN LATERAL (
        SELECT coalesce(sum(amount_minor) FILTER (WHERE account IN ('available', 'held', 'reserve')), 0) AS own,
            coalesce(sum(amount_minor) FILTER (WHERE account = 'held'), 0) AS held,
            coalesce(sum(amount_minor) FILTER (WHERE account = 'reserve'), 0) AS reserve
        FROM ledger_entry WHERE balance_id = b.id
    ) e ON true
    WHERE (b.balance_minor, b.held_minor, b.reserve_minor) IS DISTINCT FROM (e.own, e.held, e.reserve)
        OR b.overdraft_minor <> greatest(0, b.held_minor + b.reserve_minor - b.balance_minor)
    ORDER BY b.id LIMIT 1000
    """
)
_TOTALS_SAY: Final = (
    "balance {id} has {balance_minor}, {held_minor} held, {reserve_minor} kept back and {overdraft_minor} overdrawn;"
    " its entries make {own}, {held} and {reserve}"
)

_ASTRAY: Final = text(
    """
    SELECT e.balance_id, e.payout_id, sum(e.amount_minor) AS held
    FROM ledger_entry e LEFT JOIN payout p ON p.id = e.payout_id AND p.balance_id = e.balance_id
    WHERE e.account IN ('held', 'out') AND p.id IS NULL
    GROUP BY e.balance_id, e.payout_id ORDER BY e.balance_id LIMIT 1000
    """
)
"""Money of payouts, with no payout of that balance to it."""
_ASTRAY_SAYS: Final = "balance {balance_id} has {held} held or out for {payout_id}, which is no payout of it"

_OPEN: Final = text(
    f"""
    {STANDS} WHERE p.balance_id IS NOT NULL AND (
        p.status IN ({", ".join(f"'{status}'" for status in sorted(IN_FLIGHT))}) OR p.advanced_at > :since
        OR booked.held <> 0
    ) ORDER BY p.id
    """
)

_KEEP: Final = text(
    """
    INSERT INTO books_check (id, checked_at, violations, number, waiting)
    VALUES (1, :now, CAST(:violations AS jsonb), :number, CAST(:waiting AS jsonb))
    ON CONFLICT (id) DO UPDATE SET checked_at = excluded.checked_at, violations = excluded.violations,
        number = excluded.number, waiting = excluded.waiting
    """
)
