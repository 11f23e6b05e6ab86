"""Where locked payouts stand, read and written a whole batch at a time.

Rows, not ORM objects: a batch of hundreds is one statement each way, which is most of the difference between
hundreds of events a second and tens of thousands.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlmodel import Session

from models.database import Quick
from models.lifecycle import PayoutStatus
from models.rows import IDS, Rows, as_json


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
    partner_reference: str | None
    partner_metadata: dict[str, Any] | None
    mode: str | None
    scheduled_at: datetime | None
    submitted_at: datetime | None
    route_seconds: int | None
    tracking_token: str = field(repr=False)
    created_at: datetime
    balance_id: str | None
    status: PayoutStatus
    epoch: int
    submission: str
    is_disputed: bool
    dispute: str | None
    processed_amount_minor: int | None
    costs: dict[str, int] | None
    failure_code: str | None
    failure_message: str | None
    estimated_delivery_at: datetime | None
    sequence: int
    advanced_at: datetime
    quiet_since: datetime | None
    occurred_at: datetime | None
    last_evidence_at: datetime | None
    last_evidence_source: str | None
    polls: int
    poll_step: int
    poll_failures: int
    poll_failure: str | None
    next_poll_at: datetime | None


_AT_BIRTH: Final = (
    *("id", "organisation_id", "integration_id", "order_key", "gateway_reference", "amount_minor", "currency"),
    *("test_mode", "partner_reference", "partner_metadata", "mode", "scheduled_at", "route_seconds", "tracking_token"),
    *("created_at", "balance_id", "status", "submission", "sequence", "advanced_at", "quiet_since", "next_poll_at"),
)
"""What may differ from the column's default when a payout is written for the first time."""
_BESIDE: Final = (
    *("description", "details", "destination_label", "debit_minor", "fee_minor", "quote_id", "business_day"),
)
"""What is written then and is no part of where it stands."""

_COLUMNS: Final = ", ".join(f"p.{column.name}" for column in fields(Standing))
_NAMES: Final = [column.name for column in fields(Standing)]
_CHANGING: Final = ("gateway_reference", *_NAMES[_NAMES.index("status") :])
_TYPES: Final = {
    **dict.fromkeys(("advanced_at", "quiet_since", "occurred_at", "last_evidence_at", "next_poll_at"), "timestamptz"),
    **dict.fromkeys(("epoch", "sequence", "polls", "poll_step", "poll_failures"), "int"),
    "estimated_delivery_at": "timestamptz",
    "is_disputed": "boolean",
    "processed_amount_minor": "bigint",
    "costs": "jsonb",
}

_KEYS: Final = Rows(i="int", r="text", o="text")
_LOCK_BY_KEYS: Final = Quick(
    f"""
    SELECT {_COLUMNS} FROM payout p WHERE p.id = ANY(ARRAY(
        SELECT found.id FROM {_KEYS.table} AS k CROSS JOIN LATERAL (
            (SELECT id FROM payout WHERE integration_id = k.i AND gateway_reference = k.r LIMIT 1)
            UNION ALL (SELECT id FROM payout WHERE integration_id = k.i AND order_key = k.o LIMIT 1)
            LIMIT 1
        ) AS found
    )) ORDER BY p.id FOR UPDATE OF p
    """  # noqa: S608 (column names of our own dataclass)
)
_LOCK_BY_ID: Final = text(f"SELECT {_COLUMNS} FROM payout p WHERE p.id = ANY(:ids) ORDER BY p.id FOR UPDATE OF p")  # noqa: S608

_WRITTEN: Final = Rows(id="text", **{name: _TYPES.get(name, "text") for name in _CHANGING})
_WRITE: Final = Quick(
    f"""
    UPDATE payout p SET {", ".join(f"{name} = s.{name}" for name in _CHANGING)}
    FROM {_WRITTEN.table} AS s WHERE p.id = s.id AND p.id = {IDS}
    """  # noqa: S608
)
_as_written: Final = attrgetter("id", *_CHANGING)


_VALUES: Final = {
    **{name: f":{name}" for name in (*_AT_BIRTH, *_BESIDE)},
    "partner_metadata": "CAST(:partner_metadata AS jsonb)",
}
_ADD: Final = Quick(f"INSERT INTO payout ({', '.join(_VALUES)}) VALUES ({', '.join(_VALUES.values())})")  # noqa: S608


def new_standing(*, created_at: datetime, **known: Any) -> Standing:
    """Return a payout of which nothing has been said yet; `known` are the other columns."""
    unknown = dict.fromkeys(_NAMES)
    begins = {"status": PayoutStatus.PENDING, "epoch": 1, "is_disputed": False}
    begins |= {"advanced_at": created_at, "quiet_since": created_at}
    counts = dict.fromkeys(("sequence", "polls", "poll_step", "poll_failures"), 0)
    token = secrets.token_hex(16)
    return Standing(**{**unknown, **begins, **counts, "tracking_token": token, "created_at": created_at, **known})


def add(session: Session, standing: Standing, beside: Mapping[str, Any]) -> None:
    """Write a payout for the first time, as it stands; `beside` holds the columns that no evidence looks at."""
    row = {name: getattr(standing, name) for name in _AT_BIRTH}
    metadata = row["partner_metadata"]
    row["partner_metadata"] = None if metadata is None else orjson.dumps(metadata).decode()
    _ADD.run(session, {**row, **beside})


def lock_by_keys(session: Session, keys: Iterable[tuple[int, str | None, str | None]]) -> list[Standing]:
    """Lock the payouts that (integration, gateway reference, order key) name, in id order: no deadlocks.

    The gateway's reference goes first; our key finds a payout whose reference we have not been told yet.
    """
    named = as_json(list(keys))
    return [_standing(row) for row in _LOCK_BY_KEYS.run(session, {"rows": named}).fetchall()]


def lock(session: Session, ids: Sequence[str]) -> list[Standing]:
    """Lock payouts by id, in id order."""
    return [_standing(row) for row in session.connection().execute(_LOCK_BY_ID, {"ids": list(ids)})]


def write(session: Session, standings: Iterable[Standing]) -> None:
    """Write locked payouts back, in one statement."""
    rows = [_as_written(standing) for standing in standings]
    if rows:
        _WRITE.run(session, {"rows": as_json(rows), "ids": as_json([row[0] for row in rows])})


def _standing(row: Any) -> Standing:
    standing = Standing(*row)
    standing.status = PayoutStatus(standing.status)
    return standing
