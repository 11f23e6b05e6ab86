"""A balance's ledger as its owner reads it: transaction by transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from models.balance import Account, EntryKind


@dataclass(frozen=True, slots=True)
class Statement:
    """One ledger transaction, without why an operator made it."""

    id: str
    kind: EntryKind
    payout_id: str | None
    lines: tuple[tuple[Account, int], ...]
    """Minor units into each account, in the order in which they were added."""
    created_at: datetime


def statements(session: Session, balance_id: str, after: str | None, most: int) -> Sequence[Statement]:
    """Return the newest transactions of a balance that are older than `after`."""
    asked = {"balance": balance_id, "after": after, "most": most}
    return [
        Statement(
            row.transaction_id,
            EntryKind(row.kind),
            row.payout_id,
            tuple((Account(account), amount) for account, amount in row.lines),
            row.created_at,
        )
        for row in session.connection().execute(_READ, asked)
    ]


_READ: Final = text(
    """
    SELECT transaction_id, min(kind) AS kind, min(payout_id) AS payout_id, min(created_at) AS created_at,
        jsonb_agg(jsonb_build_array(account, amount_minor) ORDER BY id) AS lines
    FROM ledger_entry WHERE balance_id = :balance AND (CAST(:after AS text) IS NULL OR transaction_id < :after)
    GROUP BY transaction_id ORDER BY transaction_id DESC LIMIT :most
    """
)
