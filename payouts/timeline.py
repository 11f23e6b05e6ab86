"""Everything we know about one payout, with the evidence for it: what was said, what changed, who was told."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import text
from sqlmodel import Session

from models.lifecycle import PayoutStatus
from payouts.estimate import expected_at
from payouts.payload import failure, rfc3339
from payouts.report import amount_text

MOST: Final = 500
"""Of each part of one payout's history; of the observations the newest."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Where the payout stands. Without its beneficiary: those details stay sealed."""

    id: str
    organisation: str
    gateway: str
    integration: str
    order_key: str
    gateway_reference: str | None
    amount: str
    currency: str
    processed_amount: str | None
    test_mode: bool
    status: PayoutStatus
    epoch: int
    submission: str
    submitted_at: datetime | None
    is_disputed: bool
    dispute: str | None
    failure_code: str | None
    failure_message: str | None
    estimated_delivery_at: datetime | None
    created_at: datetime
    advanced_at: datetime
    last_evidence_at: datetime | None
    last_evidence_source: str | None
    polls: int
    poll_failures: int
    poll_failure: str | None
    next_poll_at: datetime | None


@dataclass(frozen=True, slots=True)
class Said:
    """One observation."""

    recorded_at: datetime
    occurred_at: datetime | None
    source: str
    said: str
    status: str | None
    effect: str
    note: str | None
    epoch: int
    inbox_event_id: int | None


@dataclass(frozen=True, slots=True)
class Changed:
    """One payout event."""

    created_at: datetime
    occurred_at: datetime | None
    id: str
    sequence: int
    previous_status: str | None
    status: str
    source: str


@dataclass(frozen=True, slots=True)
class Attempted:
    """One HTTP request for a delivery."""

    started_at: datetime
    number: int
    outcome: str
    status_code: int | None
    error: str | None
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Owed:
    """One delivery with its attempts."""

    id: str
    event_id: str
    sequence: int
    endpoint_id: str
    state: str
    created_at: datetime
    next_attempt_at: datetime
    closed_at: datetime | None
    host: str
    """Of the endpoint; its path and query may hold the partner's secrets."""
    attempts: tuple[Attempted, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """One payout's history, each part oldest first."""

    payout: Facts
    observations: tuple[Said, ...]
    events: tuple[Changed, ...]
    deliveries: tuple[Owed, ...]

    def document(self) -> dict[str, Any]:
        """Return it as JSON values, times as RFC 3339."""
        return _plain(asdict(self))  # type: ignore[no-any-return]


def timeline(session: Session, payout_id: str) -> Timeline | None:
    """Return the history of a payout, or None when there is no such payout."""
    if not payout_id.isprintable():  # PostgreSQL's text holds no NUL
        return None
    connection, of = session.connection(), {"id": payout_id, "most": MOST}
    row = connection.execute(_PAYOUT, of).one_or_none()
    if row is None:
        return None
    attempts = defaultdict[str, list[Attempted]](list)
    for delivery_id, *attempt in connection.execute(_ATTEMPTS, of):
        attempts[delivery_id].append(Attempted(*attempt))
    return Timeline(
        _facts(row),
        tuple(Said(*said) for said in connection.execute(_OBSERVATIONS, of)),
        tuple(Changed(*changed) for changed in connection.execute(_EVENTS, of)),
        tuple(_owed(owed, attempts[owed.id]) for owed in connection.execute(_DELIVERIES, of)),
    )


def _facts(row: Any) -> Facts:
    facts = dict(row._mapping)  # noqa: SLF001 (SQLAlchemy's public name for it)
    amount_minor, processed = facts.pop("amount_minor"), facts.pop("processed_amount_minor")
    del facts["route_seconds"], facts["scheduled_at"]
    told = failure(row) or {"code": None, "message": None}
    facts |= {"failure_code": told["code"], "failure_message": told["message"]}
    return Facts(
        **facts | {"status": PayoutStatus(row.status), "estimated_delivery_at": expected_at(row)},
        amount=amount_text(amount_minor, row.currency),
        processed_amount=None if processed is None else amount_text(processed, row.currency),
    )


def _owed(row: Any, attempts: list[Attempted]) -> Owed:
    facts = dict(row._mapping)  # noqa: SLF001
    host = urlsplit(facts.pop("url") or "").hostname or "?"
    return Owed(**facts, host=host, attempts=tuple(attempts))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return rfc3339(value) if isinstance(value, datetime) else value


_PAYOUT: Final = text(
    """
    SELECT p.id, o.name AS organisation, i.connector AS gateway, i.slug AS integration, p.order_key,
        p.gateway_reference, p.amount_minor, p.currency, p.processed_amount_minor, p.test_mode, p.status, p.epoch,
        p.submission, p.submitted_at, p.is_disputed, p.dispute, p.failure_code, p.failure_message,
        p.estimated_delivery_at, p.route_seconds, p.scheduled_at, p.created_at, p.advanced_at,
        p.last_evidence_at, p.last_evidence_source, p.polls, p.poll_failures, p.poll_failure, p.next_poll_at
    FROM payout p JOIN organisation o ON o.id = p.organisation_id JOIN integration i ON i.id = p.integration_id
    WHERE p.id = :id
    """
)
_OBSERVATIONS: Final = text(
    """
    SELECT recorded_at, occurred_at, source, said, status, effect, note, epoch, inbox_event_id
    FROM (SELECT * FROM observation WHERE payout_id = :id ORDER BY id DESC LIMIT :most) newest ORDER BY id
    """
)
_EVENTS: Final = text(
    "SELECT created_at, occurred_at, id, sequence, previous_status, status, source"
    " FROM payout_event WHERE payout_id = :id ORDER BY sequence LIMIT :most"
)
_DELIVERIES: Final = text(
    """
    SELECT d.id, d.event_id, d.sequence, d.endpoint_id, d.state, d.created_at, d.next_attempt_at, d.closed_at, e.url
    FROM delivery d LEFT JOIN endpoint e ON e.id = d.endpoint_id
    WHERE d.event_id IN (SELECT id FROM payout_event WHERE payout_id = :id)
    ORDER BY d.sequence, d.created_at, d.id LIMIT :most
    """
)
_ATTEMPTS: Final = text(
    """
    SELECT a.delivery_id, a.started_at, a.number, a.outcome, a.status_code, a.error, a.duration_ms
    FROM payout_event e JOIN delivery d ON d.event_id = e.id JOIN attempt a ON a.delivery_id = d.id
    WHERE e.payout_id = :id ORDER BY a.id LIMIT :most
    """
)
