"""What does not agree in the books: three questions to the ledger and one to its payouts, and how the answers are said.

Each is asked of the entries behind a base. Behind `NOTHING_YET` that is all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, text

from models.lifecycle import IN_FLIGHT
from payouts.position import Position
from payouts.stands import STANDS, wanted_position


@dataclass(frozen=True, slots=True)
class Base:
    """What a whole proof has proven."""

    up_to: int
    """An entry's id."""
    sums: str
    """JSON rows of balances: id, own, held, reserve."""
    holders: str
    """JSON list of payouts that were over and still held money."""


NOTHING_YET: Final = Base(0, "[]", "[]")


def look(connection: Connection, base: Base, since: datetime) -> tuple[tuple[str, ...], Sequence[Any]]:
    """Return what does not agree, in words, and the payouts that were looked at: all that could, and what holds money.

    Payouts that are over are looked at when they have advanced after `since`, or have entries behind the base.
    """
    on = {"up_to": base.up_to, "sums": base.sums, "holders": base.holders, "since": since}
    violations = [_UNBALANCED_SAYS.format(**row._mapping) for row in connection.execute(_UNBALANCED, on)]  # noqa: SLF001
    violations += [_TOTALS_SAY.format(**row._mapping) for row in connection.execute(_TOTALS, on)]  # noqa: SLF001
    violations += [_ASTRAY_SAYS.format(**row._mapping) for row in connection.execute(_ASTRAY, on)]  # noqa: SLF001
    stands = connection.execute(_OPEN, on).all()
    return (*violations, *_misplaced(stands)), stands


def _misplaced(stands: Sequence[Any]) -> Iterator[str]:
    for row in stands:
        booked, wanted = Position(row.held, row.out, row.fees), wanted_position(row)
        if booked != wanted:
            yield f"payout {row.id} ({row.status}) is booked as {_words(booked)} and has to stand as {_words(wanted)}"


def _words(stands: Position) -> str:
    return f"held {stands.held}, out {stands.out}, fees {stands.fees}"


_UNBALANCED: Final = text(
    """
    SELECT odd.transaction_id, odd.balance_id, whole.off FROM (
        SELECT transaction_id, balance_id FROM ledger_entry WHERE id > :up_to
        GROUP BY transaction_id, balance_id HAVING sum(amount_minor) <> 0
    ) odd CROSS JOIN LATERAL (
        SELECT sum(amount_minor) AS off FROM ledger_entry e
        WHERE e.balance_id = odd.balance_id AND e.transaction_id = odd.transaction_id
    ) whole
    WHERE whole.off <> 0 ORDER BY odd.transaction_id LIMIT 1000
    """
)
"""Two that are added at once take their numbers in turns, so a base may end amid one: it is summed up again, whole."""
_UNBALANCED_SAYS: Final = "transaction {transaction_id} of balance {balance_id} sums to {off}, not to zero"

ADDED_UP: Final = """
    SELECT balance_id AS id,
        coalesce(sum(amount_minor) FILTER (WHERE account IN ('available', 'held', 'reserve')), 0) AS own,
        coalesce(sum(amount_minor) FILTER (WHERE account = 'held'), 0) AS held,
        coalesce(sum(amount_minor) FILTER (WHERE account = 'reserve'), 0) AS reserve
    FROM ledger_entry
"""

_TOTALS: Final = text(
    f"""
    SELECT b.id, b.balance_minor, b.held_minor, b.reserve_minor, b.overdraft_minor,
        coalesce(e.own, 0) AS own, coalesce(e.held, 0) AS held, coalesce(e.reserve, 0) AS reserve
    FROM balance b LEFT JOIN (
        SELECT id, sum(own) AS own, sum(held) AS held, sum(reserve) AS reserve FROM (
            SELECT * FROM jsonb_to_recordset(CAST(:sums AS jsonb))
                AS proven (id text, own numeric, held numeric, reserve numeric)
            UNION ALL ({ADDED_UP} WHERE id > :up_to GROUP BY balance_id)
        ) parts GROUP BY id
    ) e ON e.id = b.id
    WHERE (b.balance_minor, b.held_minor, b.reserve_minor)
            IS DISTINCT FROM (coalesce(e.own, 0), coalesce(e.held, 0), coalesce(e.reserve, 0))
        OR b.overdraft_minor <> greatest(0, b.held_minor + b.reserve_minor - b.balance_minor)
    ORDER BY b.id LIMIT 1000
    """  # noqa: S608 (our own words)
)
_TOTALS_SAY: Final = (
    "balance {id} has {balance_minor}, {held_minor} held, {reserve_minor} kept back and {overdraft_minor} overdrawn;"
    " its entries make {own}, {held} and {reserve}"
)

_ASTRAY: Final = text(
    """
    SELECT e.balance_id, e.payout_id, sum(e.amount_minor) AS held
    FROM ledger_entry e LEFT JOIN payout p ON p.id = e.payout_id AND p.balance_id = e.balance_id
    WHERE e.id > :up_to AND e.account IN ('held', 'out') AND p.id IS NULL
    GROUP BY e.balance_id, e.payout_id ORDER BY e.balance_id LIMIT 1000
    """
)
"""Money of payouts, with no payout of that balance to it."""
_ASTRAY_SAYS: Final = "balance {balance_id} has {held} held or out for {payout_id}, which is no payout of it"

_OPEN: Final = text(
    f"""
    {STANDS} WHERE p.balance_id IS NOT NULL AND (
        p.status IN ({", ".join(f"'{status}'" for status in sorted(IN_FLIGHT))}) OR p.advanced_at > :since
        OR p.id IN (SELECT jsonb_array_elements_text(CAST(:holders AS jsonb)))
        OR p.id IN (
            SELECT payout_id FROM ledger_entry WHERE id > :up_to AND payout_id IS NOT NULL
            GROUP BY payout_id HAVING :up_to > 0 OR sum(amount_minor) FILTER (WHERE account = 'held') <> 0
        )
    ) ORDER BY p.id
    """  # noqa: S608 (our own words)
)
"""Whatever could stand elsewhere than it should, and everything over that still holds money."""
