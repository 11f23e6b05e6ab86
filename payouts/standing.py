"""Where locked payouts stand, read and written a whole batch at a time.

Rows, not ORM objects: a batch of hundreds is one statement each way, which is most of the difference between
hundreds of events a second and tens of thousands.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlmodel import Session

from models.lifecycle import PayoutStatus


@dataclass(slots=True)
class Standing:
    """One locked payout while evidence about it is weighed. The columns that evidence can change, and a few more."""

    id: str
    organisation_id: str
    integration_id: int
    order_key: str
    gateway_reference: str | None
    amount_minor: int
    currency: str
    test_mode: bool
    created_at: datetime
    status: PayoutStatus
    epoch: int
    submission: str
    is_disputed: bool
    dispute: str | None
    processed_amount_minor: int | None
    failure_code: str | None
    failure_message: str | None
    estimated_delivery_at: datetime | None
    sequence: int
    advanced_at: datetime
    occurred_at: datetime | None
    last_evidence_at: datetime | None
    last_evidence_source: str | None
    polls: int
    poll_step: int
    poll_failures: int
    poll_failure: str | None
    next_poll_at: datetime | None


_COLUMNS: Final = ", ".join(f"p.{column.name}" for column in fields(Standing))
_CHANGING: Final = [column.name for column in fields(Standing)][9:]
_TYPES: Final = {
    **dict.fromkeys(("advanced_at", "occurred_at", "last_evidence_at", "next_poll_at"), "timestamptz"),
    **dict.fromkeys(("epoch", "sequence", "polls", "poll_step", "poll_failures"), "int"),
    "estimated_delivery_at": "timestamptz",
    "is_disputed": "boolean",
    "processed_amount_minor": "bigint",
}

_LOCK_BY_KEYS: Final = text(
    f"""
    SELECT {_COLUMNS} FROM payout p WHERE p.id IN (
        SELECT id FROM payout JOIN unnest(CAST(:integrations AS int[]), CAST(:references AS text[])) AS k (i, r)
            ON integration_id = k.i AND gateway_reference = k.r
        UNION
        SELECT id FROM payout JOIN unnest(CAST(:integrations AS int[]), CAST(:order_keys AS text[])) AS k (i, r)
            ON integration_id = k.i AND order_key = k.r
    ) ORDER BY p.id FOR UPDATE OF p
    """  # noqa: S608 (column names of our own dataclass)
)
_LOCK_BY_ID: Final = text(f"SELECT {_COLUMNS} FROM payout p WHERE p.id = ANY(:ids) ORDER BY p.id FOR UPDATE OF p")  # noqa: S608

_WRITE: Final = text(
    f"""
    UPDATE payout p SET gateway_reference = s.gateway_reference,
        {", ".join(f"{name} = s.{name}" for name in _CHANGING)}
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS s (
        id text, gateway_reference text, {", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in _CHANGING)}
    ) WHERE p.id = s.id
    """  # noqa: S608
)


def lock_by_keys(session: Session, keys: Iterable[tuple[int, str | None, str | None]]) -> list[Standing]:
    """Lock the payouts that any (integration, gateway reference, order key) names, in id order: no deadlocks."""
    integrations, references, order_keys = zip(*keys, strict=True)
    parameters = {"integrations": list(integrations), "references": list(references), "order_keys": list(order_keys)}
    return [_standing(row) for row in session.connection().execute(_LOCK_BY_KEYS, parameters)]


def lock(session: Session, ids: Sequence[str]) -> list[Standing]:
    """Lock payouts by id, in id order."""
    return [_standing(row) for row in session.connection().execute(_LOCK_BY_ID, {"ids": list(ids)})]


def write(session: Session, standings: Iterable[Standing]) -> None:
    """Write locked payouts back, in one statement."""
    rows = [
        {name: getattr(standing, name) for name in ("id", "gateway_reference", *_CHANGING)} for standing in standings
    ]
    if rows:
        session.connection().execute(_WRITE, {"rows": as_json(rows)})


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows for `jsonb_to_recordset`."""
    return orjson.dumps(rows, option=orjson.OPT_PASSTHROUGH_DATETIME, default=datetime.isoformat).decode()


def _standing(row: Any) -> Standing:
    standing = Standing(*row)
    standing.status = PayoutStatus(standing.status)
    return standing
