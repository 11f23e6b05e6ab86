"""Payouts, where their money stands, and what was said of them: what the ledger and its proof read."""

from typing import Any, Final

from models.lifecycle import PayoutStatus
from models.payout import ASKED
from payouts.position import Fate, Position, position


def wanted_position(row: Any) -> Position:
    """Return where the money of a row of `STANDS` has to stand."""
    return position(
        Fate(
            status=PayoutStatus(row.status),
            submission=row.submission,
            is_disputed=row.is_disputed,
            debit_minor=row.debit_minor,
            fee_minor=row.fee_minor,
            amount_minor=row.amount_minor,
            processed_amount_minor=row.processed_amount_minor,
            undoing_is_confirmed=row.undoing_is_confirmed,
            part_is_confirmed=row.part_is_confirmed,
        )
    )


_ASKED: Final = f"o.source IN ({', '.join(repr(str(source)) for source in sorted(ASKED))})"
"""Whose word gives money back: not a webhook's, and not that of the partner who wants it."""

STANDS: Final = f"""
    SELECT p.id, p.balance_id, p.status, p.submission, p.is_disputed, p.amount_minor, p.processed_amount_minor,
        p.debit_minor, p.fee_minor, p.poll_step, p.next_poll_at, booked.*,
        coalesce(said.undone, false) AS undoing_is_confirmed,
        coalesce(said.this_part_at > coalesce(said.another_at, 0), false) AS part_is_confirmed
    FROM payout p CROSS JOIN LATERAL (
        SELECT bool_or({_ASKED} AND o.status IN ('failed', 'canceled', 'returned')) AS undone,
            max(o.id) FILTER (
                WHERE {_ASKED} AND o.status = 'delivered' AND o.processed_amount_minor = p.processed_amount_minor
            ) AS this_part_at,
            max(o.id) FILTER (WHERE o.processed_amount_minor <> p.processed_amount_minor) AS another_at
        FROM observation o WHERE o.payout_id = p.id AND o.epoch = p.epoch
    ) said CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount_minor) FILTER (WHERE account = 'held'), 0)::bigint AS held,
            coalesce(sum(amount_minor) FILTER (WHERE account = 'out'), 0)::bigint AS out,
            coalesce(sum(amount_minor) FILTER (WHERE account = 'fees'), 0)::bigint AS fees
        FROM ledger_entry WHERE payout_id = p.id
    ) booked
"""  # noqa: S608 (our own words)
"""Payouts, where their money stands, and what was said of them in this epoch by somebody who was asked.

An observation has an amount where that amount stood after it. So a part is certain when it was told by an answer and
none has stood since but this one."""
