"""Lags and numbers that only the database knows, read when they are scraped.

Families, not `Gauge` objects: where processes share counters through files, a Gauge writes itself into those files and
would come out a second time, stale, from every process that was ever scraped.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlmodel import Session

from models.database import transaction
from payouts.attention import Attention, read_attention
from payouts.report import StuckReport
from payouts.stuck import find_stuck
from payouts.sweeping import most_overdue

_NEWEST: Final = 10_000
_APPLIED: Final = 100
_COUNTED_UP_TO: Final = 100_000


def read_lags(registry: CollectorRegistry) -> None:
    """Register what the database says now. Opens a transaction of its own; raises what the database raises."""
    now = datetime.now(UTC)
    with transaction() as session:
        families = [
            *_lags(session, now),
            *_attention(read_attention(session, now), now),
            _stuck(find_stuck(session, now, limit=0)),
        ]
    registry.register(_Reading(families))


class _Reading(Collector):
    """Families as they were read."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def _lags(session: Session, now: datetime) -> Iterable[Metric]:
    connection = session.connection()
    inbox = connection.execute(_INBOX, {"most": _COUNTED_UP_TO}).one()
    yield _gauge(
        "ratchet_inbox_lag_seconds", "Age of the oldest inbox event that is not applied", _age(inbox.oldest, now)
    )
    yield _gauge("ratchet_inbox_waiting", f"Inbox events not applied, counted up to {_COUNTED_UP_TO}", inbox.waiting)
    due = most_overdue(session, now)
    yield _gauge(
        "ratchet_outbox_lag_seconds", "How long the most overdue delivery that may go has waited", _age(due, now)
    )
    applied = GaugeMetricFamily(
        "ratchet_apply_lag_seconds",
        f"From our door to applied, last {_APPLIED} applied inbox events",
        labels=["quantile"],
    )
    lags = connection.execute(_APPLY, {"newest": _NEWEST, "applied": _APPLIED}).one()
    for quantile, seconds in zip(("0.5", "0.99"), lags, strict=True):
        applied.add_metric([quantile], max(0.0, seconds or 0.0))
    yield applied


def _attention(attention: Attention, now: datetime) -> Iterable[Metric]:
    inbox = GaugeMetricFamily("ratchet_inbox_events", "Inbox events that wait for a person", labels=["state"])
    for state, number in attention.inbox.items():
        inbox.add_metric([state], number)
    yield inbox
    yield _gauge("ratchet_deliveries_dead", "Deliveries given up; a person decides", attention.dead_deliveries)
    endpoints = GaugeMetricFamily(
        "ratchet_endpoints_ailing",
        "Partners' endpoints that hear nothing: paused, or switched off by us",
        labels=["why"],
    )
    for why in ("paused", "gone", "failing"):
        endpoints.add_metric([why], sum((one.disabled_reason or "paused") == why for one in attention.endpoints))
    yield endpoints
    yield _gauge(
        "ratchet_integrations_without_secret",
        "Active integrations whose webhooks are all refused with 403",
        len(attention.without_secret),
    )
    yield _gauge("ratchet_books_violations", "What the last proof of the ledger found wrong", attention.books.number)
    yield _gauge(
        "ratchet_books_waiting", "Payouts that are over, whose money waits for a person", len(attention.books.waiting)
    )
    if attention.books.proven_at:
        yield _gauge("ratchet_books_proof_age_seconds", "Since the last proof", _age(attention.books.proven_at, now))


def _stuck(report: StuckReport) -> Metric:
    family = GaugeMetricFamily("ratchet_stuck_payouts", "Stuck payouts", labels=["reason", "gateway"])
    numbers: dict[tuple[str, str], int] = {}
    for group in report.groups:
        numbers[group.reason, group.gateway] = numbers.get((group.reason, group.gateway), 0) + group.number
    for labels, number in numbers.items():
        family.add_metric(labels, number)
    return family


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _age(moment: datetime | None, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds()) if moment else 0.0


_INBOX: Final = text(
    """
    SELECT min(received_at) AS oldest, count(*) AS waiting
    FROM (SELECT received_at FROM inbox_new ORDER BY event_id LIMIT :most) waiting
    """
)

_APPLY: Final = text(
    """
    SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY lag), percentile_disc(0.99) WITHIN GROUP (ORDER BY lag) FROM (
        SELECT extract(epoch FROM heard.recorded_at - e.received_at)::float8 AS lag
        FROM (
            SELECT inbox_event_id, recorded_at
            FROM (SELECT id, inbox_event_id, recorded_at FROM observation ORDER BY id DESC LIMIT :newest) newest
            WHERE inbox_event_id IS NOT NULL ORDER BY id DESC LIMIT :applied
        ) heard CROSS JOIN LATERAL (
            SELECT received_at FROM inbox_event WHERE id = heard.inbox_event_id LIMIT 1
        ) e
    ) applied
    """
)
"""By what was recorded last. Behind a long backlog nothing recent was applied, and the inbox lag tells it."""
