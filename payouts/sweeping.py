"""What is due and forgotten, or due again: found for every endpoint in turn, however long another one's backlog is."""

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from payouts.deliveries import HEADS_TIME, IS_OPEN, MAY_BE_SENT_TO, NOBODYS

LEAST_SHARE: Final = 5
"""Looked at of each endpoint, however many are owed something. Of these, what waits behind another is put off."""


def sweep_due(session: Session, now: datetime, most: int) -> list[str]:
    """Return heads that are due and that nobody has attempted, for every endpoint its share of `most`.

    What is due only by its time, and waits behind another of its payout, is put off until that one's time.
    """
    return [row[0] for row in session.connection().execute(SWEEP, {"now": now, "most": most})]


def most_overdue(session: Session, now: datetime, most: int = 1_000) -> datetime | None:
    """Return since when the delivery that has waited longest could have gone."""
    oldest: datetime | None = session.connection().execute(_MOST_OVERDUE, {"now": now, "most": most}).scalar_one()
    return oldest


_DUE: Final = f"""
    RECURSIVE owed AS (
        (SELECT endpoint_id AS id, next_attempt_at AS first_at FROM delivery d
        WHERE state = 'open' ORDER BY endpoint_id, next_attempt_at LIMIT 1)
        UNION ALL
        SELECT further.* FROM owed CROSS JOIN LATERAL (
            SELECT d.endpoint_id, d.next_attempt_at FROM delivery d WHERE d.state = 'open' AND d.endpoint_id > owed.id
            ORDER BY d.endpoint_id, d.next_attempt_at LIMIT 1
        ) AS further
    ), place AS MATERIALIZED (
        SELECT p.id, p.most, greatest({LEAST_SHARE}, CAST(:most AS bigint) / count(*) OVER ()) AS share
        FROM owed CROSS JOIN LATERAL (
            SELECT p.id,
                CASE WHEN p.breaker <> 'closed' THEN 1 ELSE coalesce(p.rate_limit, CAST(:most AS bigint)) END AS most
            FROM endpoint p WHERE p.id = owed.id AND {MAY_BE_SENT_TO} LIMIT 1
        ) AS p WHERE owed.first_at <= :now
    ), due AS MATERIALIZED (
        SELECT d.*, place.most FROM place CROSS JOIN LATERAL (
            SELECT id, next_attempt_at, older_at, row_number() OVER (
                PARTITION BY older_at IS NULL ORDER BY next_attempt_at, id
            ) AS place
            FROM (
                SELECT d.id, d.next_attempt_at, {HEADS_TIME} AS older_at FROM delivery d
                WHERE d.endpoint_id = place.id AND d.state = 'open' AND d.next_attempt_at <= :now AND {NOBODYS}
                ORDER BY d.next_attempt_at LIMIT place.share
            ) AS d
        ) AS d
    )
"""  # noqa: S608 (fragments of this file)
"""What is due of each endpoint that is owed anything, the longest overdue first, its share at most.

From one endpoint to the next by the index, not through the rows, and each with the time of its first: one with a long
backlog, or one that may not be sent to, costs as much as any other and stands in nobody's way.
"""

SWEEP: Final = text(
    f"""
    WITH {_DUE}, parked AS (
        UPDATE delivery d SET next_attempt_at = greatest({HEADS_TIME}, :now + interval '1 minute')
        WHERE d.id = ANY(ARRAY(SELECT id FROM due WHERE older_at IS NOT NULL)) AND {IS_OPEN}
    )
    SELECT id FROM due WHERE older_at IS NULL AND place <= most
    ORDER BY place, next_attempt_at LIMIT CAST(:most AS bigint)
    """  # noqa: S608 (fragments of this file)
)

_MOST_OVERDUE: Final = text(f"WITH {_DUE} SELECT min(next_attempt_at) FROM due WHERE older_at IS NULL")  # noqa: S608
