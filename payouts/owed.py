"""What was and is owed to partners, as they see it: deliveries with their attempts, and a command to reproduce one.

The list walks an index of each endpoint from its end, so that it costs the same however long the history is and however
much other partners have.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from models.outbox import DeliveryState
from payouts.create import Refused
from payouts.pages import Stretch, is_name
from payouts.sight import Sight

MOST_ATTEMPTS_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilters:
    """Which deliveries are wanted; None is any."""

    endpoint_id: str | None = None
    state: DeliveryState | None = None
    payout_id: str | None = None
    event_id: str | None = None
    event_type: str | None = None


@dataclass(frozen=True, slots=True)
class Owed:
    """One delivery and what became of it."""

    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    payout_id: str | None
    sequence: int
    test_mode: bool
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    """None when there is none."""
    closed_at: datetime | None
    redelivery_of: str | None
    recovery_id: str | None
    last_outcome: str | None
    """Of the latest attempt."""
    last_status_code: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt."""

    number: int
    started_at: datetime
    duration_ms: int
    outcome: str
    status_code: int | None
    error: str | None
    answer: str = field(repr=False)
    """The first bytes of the answer, as text as far as they are any. Control characters are gone: an answer that is
    shown at a terminal must not be able to drive it."""


@dataclass(frozen=True, slots=True)
class Particulars:
    """One delivery with everything about it."""

    owed: Owed
    tried: tuple[Tried, ...]
    """Oldest first, of many the newest."""
    payload: str | None = field(repr=False)
    """None once it is pruned."""
    url: str = field(repr=False)
    schemes: tuple[str, ...]
    """How the endpoint's webhooks are signed."""
    sealed_headers: bytes | None = field(repr=False)


EVERY_DELIVERY: Final = DeliveryFilters()
NEWEST_DELIVERIES: Final = Stretch("dlv")


def list_deliveries(
    session: Session, sight: Sight, filters: DeliveryFilters = EVERY_DELIVERY, stretch: Stretch = NEWEST_DELIVERIES
) -> list[Owed]:
    """Return the deliveries that pass, newest first."""
    conditions = stretch.within("d.id")
    asked: dict[str, Any] = {**sight.parameters, **stretch.parameters, **_given(filters)}
    if filters.state is not None:
        conditions.append(f"d.state = '{filters.state}'")  # in words that the partial indexes answer to
    if filters.event_type is not None:
        conditions.append(f"{_TYPE} = :event_type")
    if filters.event_id is not None:
        conditions.append("d.event_id = :event_id")
    endpoints = [sight.narrows("p")]
    if filters.endpoint_id is not None:
        endpoints.append("p.id = :endpoint_id")
    if not is_name(*asked.values()):
        return []
    where = {"endpoints": " AND ".join(endpoints), "deliveries": " AND ".join(["true", *conditions])}
    query = _LIST.format(page=_source(sight, filters).format(**where))
    return [_owed(row) for row in session.connection().execute(text(query), asked)]


def find_delivery(session: Session, sight: Sight, delivery_id: str) -> Particulars:
    """Return one delivery with its attempts. Raises `Refused`."""
    asked = {**sight.parameters, "id": delivery_id, "most": MOST_ATTEMPTS_SHOWN}
    query = _LIST.format(page=_ONE.format(endpoints=sight.narrows("p")))
    connection = session.connection()
    row = connection.execute(text(query), asked).one_or_none() if is_name(delivery_id) else None
    if row is None:
        raise Refused("unknown_delivery", "there is no such delivery")
    tried = tuple(_tried(attempt) for attempt in connection.execute(_ATTEMPTS, asked))
    sent = connection.execute(_SENT, asked).one()
    return Particulars(_owed(row), tried, sent.payload, sent.url, tuple(sent.schemes), sent.sealed_headers)


def _given(filters: DeliveryFilters) -> dict[str, Any]:
    names = ("endpoint_id", "payout_id", "event_id", "event_type")
    return {name: value for name in names if (value := getattr(filters, name)) is not None}


def _source(sight: Sight, filters: DeliveryFilters) -> str:
    """Return the way in that finds the wanted ones without reading many others."""
    if filters.payout_id is not None:
        return _BY_PAYOUT
    is_all = sight.organisation_id is None and filters.endpoint_id is None
    return _ALL if is_all or filters.event_id is not None else _BY_ENDPOINT


def _owed(row: Any) -> Owed:
    facts = dict(row._mapping)  # noqa: SLF001 (SQLAlchemy's public name for it)
    state = DeliveryState(facts["state"])
    next_attempt_at = facts["next_attempt_at"] if state is DeliveryState.OPEN else None
    return Owed(**facts | {"state": state, "next_attempt_at": next_attempt_at})


def _tried(row: Any) -> Tried:
    facts = dict(row._mapping)  # noqa: SLF001
    answer = (row.answer or b"").decode("utf-8", "replace")
    return Tried(
        **facts | {"answer": "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in answer)}
    )


_TYPE: Final = "coalesce('payout.' || e.status, n.type)"
_COLUMNS: Final = """d.id, d.endpoint_id, d.event_id, d.sequence, d.state, d.attempts, d.created_at, d.next_attempt_at,
        d.closed_at, d.redelivery_of, d.recovery_id"""
_EVENT: Final = "LEFT JOIN payout_event e ON e.id = d.event_id LEFT JOIN notice n ON n.id = d.event_id"

_BY_ENDPOINT: Final = f"""
    SELECT d.*, p.test_mode FROM endpoint p CROSS JOIN LATERAL (
        SELECT {_COLUMNS}, e.payout_id, {_TYPE} AS event_type FROM delivery d {_EVENT}
        WHERE d.endpoint_id = p.id AND {{deliveries}} ORDER BY d.id DESC LIMIT :limit
    ) d WHERE {{endpoints}} ORDER BY d.id DESC LIMIT :limit
"""  # noqa: S608 (fragments of this file)
_BY_PAYOUT: Final = f"""
    SELECT {_COLUMNS}, e.payout_id, {_TYPE} AS event_type, p.test_mode
    FROM payout_event e JOIN delivery d ON d.event_id = e.id JOIN endpoint p ON p.id = d.endpoint_id
    LEFT JOIN notice n ON false
    WHERE e.payout_id = :payout_id AND {{endpoints}} AND {{deliveries}} ORDER BY d.id DESC LIMIT :limit
"""  # noqa: S608
_ALL: Final = f"""
    SELECT {_COLUMNS}, e.payout_id, {_TYPE} AS event_type, p.test_mode
    FROM delivery d JOIN endpoint p ON p.id = d.endpoint_id {_EVENT}
    WHERE {{endpoints}} AND {{deliveries}} ORDER BY d.id DESC LIMIT :limit
"""  # noqa: S608
_ONE: Final = f"""
    SELECT {_COLUMNS}, e.payout_id, {_TYPE} AS event_type, p.test_mode
    FROM delivery d JOIN endpoint p ON p.id = d.endpoint_id {_EVENT} WHERE d.id = :id AND {{endpoints}}
"""  # noqa: S608

_LIST: Final = """
    SELECT d.id, d.endpoint_id, d.event_id, d.event_type, d.payout_id, d.sequence, d.test_mode, d.state, d.attempts,
        d.created_at, d.next_attempt_at, d.closed_at, d.redelivery_of, d.recovery_id,
        a.outcome AS last_outcome, a.status_code AS last_status_code, a.error AS last_error
    FROM ({page}) d LEFT JOIN LATERAL (
        SELECT outcome, status_code, error FROM attempt WHERE delivery_id = d.id ORDER BY id DESC LIMIT 1
    ) a ON true ORDER BY d.id DESC
"""

_ATTEMPTS: Final = text(
    """
    SELECT number, started_at, duration_ms, outcome, status_code, error, answer FROM (
        SELECT * FROM attempt WHERE delivery_id = :id ORDER BY id DESC LIMIT :most
    ) newest ORDER BY id
    """
)
_SENT: Final = text(
    """
    SELECT coalesce(e.payload, n.payload) AS payload, p.url, p.schemes, p.sealed_headers
    FROM delivery d JOIN endpoint p ON p.id = d.endpoint_id
    LEFT JOIN payout_event e ON e.id = d.event_id LEFT JOIN notice n ON n.id = d.event_id WHERE d.id = :id
    """
)
