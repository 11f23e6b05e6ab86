"""Who is stuck, since when, and why.

Stuck is: in flight and silent beyond what is normal for the gateway and the status; or disputed, in any status; or
handed over with an outcome that is still unknown after `UNCONFIRMED_AFTER`; or never received by the gateway.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from models.lifecycle import IN_FLIGHT, PayoutStatus
from models.rows import Rows, as_json
from payouts.parking import PARKED
from payouts.reasons import StuckReason
from payouts.report import Filters, Group, StuckPayout, StuckReport
from payouts.silence import Silence, read_silences

UNCONFIRMED_AFTER: Final = timedelta(minutes=15)
"""By then a lost answer has been asked about several times."""

FAILING_POLLS: Final = 3
"""In a row; one or two may be the network."""

AT_A_TIME: Final = 1_000
"""Rows in memory while all of them are walked."""

_EVERYTHING: Final = Filters()


def find_stuck(session: Session, now: datetime, filters: Filters = _EVERYTHING, limit: int = 200) -> StuckReport:
    """Return at most `limit` stuck payouts that pass `filters`, with totals over all of them."""
    silences = read_silences(session)
    rows = session.connection().execute(_FIND, _parameters(silences, now, filters, limit)).all()
    return StuckReport(now, tuple(_stuck(row, now) for row in rows if row.id), _groups(rows[0]), tuple(silences))


def walk_stuck(
    session: Session, now: datetime, filters: Filters = _EVERYTHING
) -> tuple[StuckReport, Iterator[StuckPayout]]:
    """Return the totals alone, and every stuck payout that passes `filters`, to be walked while the session is open."""
    silences, bounded = read_silences(session), {"yield_per": AT_A_TIME}
    found = session.connection().execute(_FIND, _parameters(silences, now, filters), execution_options=bounded)
    first = next(found)
    report = StuckReport(now, (), _groups(first), tuple(silences))
    return report, (_stuck(row, now) for row in chain([first], found) if row.id)


def _parameters(
    silences: Sequence[Silence], now: datetime, filters: Filters, limit: int | None = None
) -> dict[str, Any]:
    return {
        "now": now,
        "rows": as_json([row for silence in silences for row in _rows(silence)]),
        # No index knows every gateway's own figure: the shortest narrows the search, each row's own decides.
        "shortest": min((span for silence in silences for span in silence.allowed.values()), default=timedelta(0)),
        "unconfirmed_after": UNCONFIRMED_AFTER,
        "failing_polls": FAILING_POLLS,
        "limit": limit,
        **asdict(filters),
    }


def _groups(first: Any) -> tuple[Group, ...]:
    return tuple(Group(StuckReason(reason), *rest) for reason, *rest in first.groups or ())


def _rows(silence: Silence) -> list[tuple[Any, ...]]:
    """Return rows of `_SILENCES`."""
    return [
        (silence.integration_id, status, allowed.total_seconds(), silence.lacks_secret)
        for status, allowed in silence.allowed.items()
    ]


def _stuck(row: Any, now: datetime) -> StuckPayout:
    return StuckPayout(
        id=row.id,
        gateway=row.gateway,
        integration=row.integration,
        organisation=row.organisation,
        order_key=row.order_key,
        gateway_reference=row.gateway_reference,
        amount_minor=row.amount_minor,
        currency=row.currency,
        status=PayoutStatus(row.status),
        submission=row.submission,
        reason=StuckReason(row.reason),
        stuck_since=row.advanced_at,
        age=now - row.advanced_at,
        threshold=row.threshold,
        last_evidence_at=row.last_evidence_at,
        last_evidence_source=row.last_evidence_source,
        polls=row.polls,
        poll_failures=row.poll_failures,
        poll_failure=row.poll_failure,
        next_poll_at=row.next_poll_at,
    )


_IS_IN_FLIGHT: Final = f"p.status IN ({', '.join(repr(str(status)) for status in sorted(IN_FLIGHT))})"

_MAY_BE_LOST: Final = "p.submission IN ('sending', 'unknown', 'not_received')"
"""Word for word the predicate of ix_payout_unconfirmed, so that PostgreSQL can prove that the index serves."""

_IS_UNCONFIRMED: Final = (
    "p.submission IN ('sending', 'unknown') AND coalesce(p.submitted_at, p.advanced_at) < :now - :unconfirmed_after"
)

_HOLDS: Final = {
    StuckReason.DISPUTED: "p.is_disputed",
    StuckReason.SUBMISSION_UNKNOWN: _IS_UNCONFIRMED,
    StuckReason.NOT_RECEIVED: "p.submission = 'not_received'",
    StuckReason.INTEGRATION_INACTIVE: "NOT i.is_active",
    StuckReason.PARKED: f"p.submission = 'unsent' AND p.poll_failure = '{PARKED}'",
    StuckReason.UNSENT: "p.submission = 'unsent'",
    StuckReason.WEBHOOK_SECRET_MISSING: "s.lacks_secret",
    StuckReason.POLLS_FAILING: "p.poll_failures >= :failing_polls",
    StuckReason.GATEWAY_SILENT: "p.last_evidence_source IS NULL OR p.last_evidence_source = 'submission'",
    StuckReason.GATEWAY_SLOW: "true",
}
_REASON: Final = " ".join(f"WHEN {_HOLDS[reason]} THEN '{reason}'" for reason in StuckReason)

_SILENCES: Final = Rows(integration_id="int", status="text", seconds="float8", lacks_secret="boolean")  # noqa: S106 (a type)
_FIND: Final = text(
    f"""
    WITH silence AS MATERIALIZED (
        SELECT integration_id, status, make_interval(secs => seconds) AS allowed, lacks_secret
        FROM {_SILENCES.table} AS s
    ), suspect AS MATERIALIZED (
        SELECT p.* FROM payout p WHERE p.is_disputed
            OR p.quiet_since < :now - :shortest AND {_IS_IN_FLIGHT} AND p.advanced_at < :now - :shortest
            OR {_IS_IN_FLIGHT} AND {_MAY_BE_LOST}
    ), stuck AS MATERIALIZED (
        SELECT p.id, i.connector AS gateway, i.slug AS integration, o.name AS organisation, p.order_key,
            p.gateway_reference, p.amount_minor, p.currency, p.status, p.submission,
            greatest(p.advanced_at, p.scheduled_at) AS advanced_at,
            p.last_evidence_at, p.last_evidence_source, p.polls, p.poll_failures, p.poll_failure, p.next_poll_at,
            CASE {_REASON} END AS reason,
            CASE WHEN {_IS_UNCONFIRMED} THEN :unconfirmed_after ELSE s.allowed END AS threshold
        FROM suspect p
        JOIN integration i ON i.id = p.integration_id
        JOIN organisation o ON o.id = p.organisation_id
        LEFT JOIN silence s ON s.integration_id = p.integration_id AND s.status = p.status
        WHERE (p.is_disputed
                OR {_IS_IN_FLIGHT} AND (
                    greatest(p.advanced_at, p.scheduled_at) < :now - s.allowed
                    OR {_IS_UNCONFIRMED} OR p.submission = 'not_received'))
            AND (CAST(:gateway AS text) IS NULL OR i.connector = :gateway)
            AND (CAST(:integration AS text) IS NULL OR i.slug = :integration)
            AND (CAST(:status AS text) IS NULL OR p.status = :status)
    ), wanted AS (
        SELECT * FROM stuck WHERE CAST(:reason AS text) IS NULL OR reason = :reason
    ), totals AS (
        SELECT jsonb_agg(jsonb_build_array(reason, gateway, currency, number, amount_minor)) AS groups FROM (
            SELECT reason, gateway, currency, count(*) AS number, sum(amount_minor) AS amount_minor
            FROM wanted GROUP BY reason, gateway, currency
        ) g
    ), page AS (
        SELECT *, row_number() OVER (ORDER BY advanced_at, amount_minor DESC, id) AS place
        FROM wanted ORDER BY place LIMIT :limit
    )
    SELECT page.*, CASE WHEN coalesce(place, 1) = 1 THEN totals.groups END AS groups
    FROM totals LEFT JOIN page ON true ORDER BY place
    """  # noqa: S608 (fragments of this file)
)
"""Totals ride on the first row, which is there even when nothing is stuck.

`suspect` is apart so that its three indexes are used whatever comes after: joined in one go, the plan that PostgreSQL
keeps for every filter at once went through each integration's payouts, and the tenth look took five times as long.
"""
