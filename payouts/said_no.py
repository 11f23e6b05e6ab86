"""Whether a payout can no longer pay: the one question before another attempt at the same money.

Only a positive no counts: the gateway rejected it, knows nothing of it after its visibility window, or said when asked
that it failed; or we called it off before it left. A webhook alone is no such no, and contradicting evidence is none.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlmodel import Session


def could_still_pay(session: Session, ids: Sequence[str]) -> list[str]:
    """Return those of these payouts that may still move money."""
    return list(session.connection().execute(_OPEN, {"ids": list(ids)}).scalars())


_OPEN: Final = text(
    """
    SELECT p.id FROM payout p WHERE p.id = ANY(:ids) AND (p.is_disputed OR NOT (
        p.submission = 'not_received'
        OR (p.submission = 'unsent' AND p.status = 'canceled' AND p.gateway_reference IS NULL)
        OR (p.submission = 'rejected' AND NOT EXISTS (
            SELECT FROM observation o WHERE o.payout_id = p.id AND o.epoch = p.epoch
                AND o.source IN ('webhook', 'poll') AND o.status NOT IN ('failed', 'canceled')
        ))
        OR (p.status IN ('failed', 'canceled', 'returned') AND EXISTS (
            SELECT FROM observation o WHERE o.payout_id = p.id AND o.epoch = p.epoch AND o.source = 'poll'
                AND o.status IN ('failed', 'canceled', 'returned') AND (p.status <> 'returned' OR o.status = 'returned')
        ))
    ))
    """
)
