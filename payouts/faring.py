"""How endpoints fare: the circuit breaker, the rests that they ask for, and when we give one up.

Read off every recorded batch, one endpoint at a time and not one attempt at a time. An endpoint that is well costs a
look at its row; the row is written only when something about it changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import structlog
from sqlalchemy import text
from sqlmodel import Session

from models.database import Quick
from models.endpoint import Breaker
from models.rows import IDS, Rows, as_json
from payouts.deliveries import Finished, Outcome
from payouts.endpoints import Reason, switch_off
from payouts.notices import Told
from settings import settings

OPEN_AFTER: Final = 10
"""Failed attempts in a row, of whatever payouts. Fewer would be one payout's trouble, or a restart."""
FIRST_PAUSE: Final = timedelta(seconds=10)
LONGEST_PAUSE: Final = timedelta(minutes=10)
GIVE_UP_AFTER: Final = timedelta(days=5)
"""Of nothing but failure."""
LONGEST_REST: Final = timedelta(hours=1)
"""The most that Retry-After is believed."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Fare:
    """What one batch says about one endpoint."""

    has_succeeded: bool = False
    failures: int = 0
    """Since its last success in the batch."""
    failing_since: datetime | None = None
    rest_until: datetime | None = None
    is_gone: bool = False


def fare(session: Session, finished: Sequence[Finished], now: datetime) -> list[Told]:
    """Note how the endpoints of these attempts fare. Returns the notices that tell of those we have switched off."""
    fares = _sum_up(finished, now)
    well = [endpoint_id for endpoint_id, one in fares.items() if one.has_succeeded and not one.failures]
    ailing = {endpoint_id: one for endpoint_id, one in fares.items() if one.failures}
    if well:
        for (endpoint_id,) in _RECOVER.run(session, {"ids": as_json(well)}):
            _log.info("endpoint.recovered", endpoint=endpoint_id)
    return _worsen(session, ailing, now) if ailing else []


def _sum_up(finished: Sequence[Finished], now: datetime) -> dict[str, Fare]:
    fares: dict[str, Fare] = {}
    for one in finished:
        summed = fares.setdefault(one.claimed.endpoint_id, Fare())
        if one.outcome is Outcome.DELIVERED:
            summed.has_succeeded, summed.failures, summed.failing_since = True, 0, None
            continue
        summed.failures += 1
        summed.failing_since = summed.failing_since or one.started_at
        summed.is_gone = summed.is_gone or one.status_code == HTTPStatus.GONE
        if one.retry_after:
            summed.rest_until = max(summed.rest_until or now, now + min(one.retry_after, LONGEST_REST))
    return fares


def _worsen(session: Session, fares: dict[str, Fare], now: datetime) -> list[Told]:
    changes, given_up = [], {}
    for row in session.connection().execute(_LOCK, {"ids": list(fares)}):
        change = _after(row, fares[row.id], now)
        changes.append(change)
        if change["breaker"] != row.breaker:
            _log.warning("endpoint.breaker", endpoint=row.id, breaker=change["breaker"], failures=change["failures"])
        if row.is_enabled and (reason := _reason_to_give_up(change, fares[row.id], now)):
            given_up[row.id] = reason
    session.connection().execute(
        _WORSEN, {"rows": as_json([[change[name] for name in _WORSENED.names] for change in changes])}
    )
    return [switch_off(session, endpoint_id, reason, now) for endpoint_id, reason in given_up.items()]


def _after(row: Any, seen: Fare, now: datetime) -> dict[str, Any]:
    """Return the endpoint's row as it is after these failures."""
    failures = seen.failures + (0 if seen.has_succeeded else row.failures)
    since = seen.failing_since if seen.has_succeeded or row.failing_since is None else row.failing_since
    breaker, openings = (Breaker.CLOSED, 0) if seen.has_succeeded else (Breaker(row.breaker), row.openings)
    not_before = _latest(row.not_before if breaker is Breaker(row.breaker) else None, seen.rest_until)
    if breaker is Breaker.HALF_OPEN or (breaker is Breaker.CLOSED and failures >= OPEN_AFTER):
        breaker, openings = Breaker.OPEN, openings + 1
        not_before = _latest(now + _pause(openings), seen.rest_until)
    return {
        "id": row.id,
        "failures": failures,
        "failing_since": since,
        "breaker": breaker,
        "openings": openings,
        "not_before": not_before,
    }


def _pause(openings: int) -> timedelta:
    longer = FIRST_PAUSE * float(2 ** min(openings - 1, 10))
    return min(longer, LONGEST_PAUSE) * settings().retry_scale


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment), default=None)


def _reason_to_give_up(change: dict[str, Any], seen: Fare, now: datetime) -> Reason | None:
    if seen.is_gone:
        return Reason.GONE
    is_long_enough = now - change["failing_since"] >= GIVE_UP_AFTER
    return Reason.FAILING if is_long_enough and change["failures"] >= OPEN_AFTER else None


_RECOVER: Final = Quick(
    f"""
    UPDATE endpoint p SET failures = 0, failing_since = NULL, openings = 0, breaker = 'closed',
        not_before = CASE WHEN p.breaker = 'closed' THEN p.not_before END
    FROM (
        SELECT id FROM endpoint WHERE id = {IDS}
            AND (failures > 0 OR breaker <> 'closed') ORDER BY id FOR UPDATE
    ) AS better WHERE p.id = better.id RETURNING p.id
    """  # noqa: S608 (a fragment of our own)
)
"""Writes nothing where all was well. A rest that was asked for outlasts the success of an attempt begun before it."""

_LOCK: Final = text(
    """
    SELECT id, is_enabled, failures, failing_since, breaker, openings, not_before FROM endpoint
    WHERE id = ANY(:ids) ORDER BY id FOR UPDATE
    """
)

_WORSENED: Final = Rows(
    id="text", failures="int", failing_since="timestamptz", breaker="text", openings="int", not_before="timestamptz"
)
_WORSEN: Final = text(
    f"""
    UPDATE endpoint p SET failures = r.failures, failing_since = r.failing_since, breaker = r.breaker,
        openings = r.openings, not_before = r.not_before
    FROM {_WORSENED.table} AS r WHERE p.id = r.id
    """  # noqa: S608 (a fragment of our own)
)
