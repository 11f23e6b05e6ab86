"""Idempotency: one key, one effect, one answer.

The answer is written in the transaction of its effect. A twin at the same moment is told apart by an advisory lock
that is tried, not waited for: twins that wait inside the database would hold every connection of the pool.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from psycopg.errors import UniqueViolation
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from models.database import Quick
from models.lifecycle import IN_FLIGHT
from models.sealed import seal, unseal
from payouts.create import Refused
from payouts.keys import Caller

KEPT: Final = timedelta(hours=24)
"""At least; and for as long as the payout that was created is in flight."""
LONGEST_KEY: Final = 255
MOST_PRUNED: Final = 1_000


class TwinAtWork(Exception):
    """The same key is being worked on at this moment. Its answer is not known yet."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request under a key."""

    caller: Caller
    key: str
    fingerprint: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as it was given."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


def fingerprint_of(method: str, path: str, body: bytes) -> bytes:
    """Return a digest of what is asked for."""
    return hashlib.sha256(b"\n".join((method.encode(), path.encode(), body))).digest()


def recall(session: Session, asked: Asked) -> Given | None:
    """Return what was answered under this key, or None when the caller is to work, alone, until it commits.

    Raises `TwinAtWork`, and `Refused` when the key stands for something else.
    """
    # One statement, whose snapshot may be older than the lock: a twin that was done in between is found by `remember`.
    row = _RECALL.run(session, _names(asked)).fetchone()
    if row is None or not row.is_alone:
        raise TwinAtWork
    if row.fingerprint is None:
        return None
    if bytes(row.fingerprint) != asked.fingerprint:
        raise Refused(
            "idempotency_conflict",
            "this Idempotency-Key was used for another request: send the same request again, or take a new key",
        )
    opened = unseal(bytes(row.sealed))
    return Given(opened["status"], opened["headers"], opened["body"].encode())


def remember(session: Session, asked: Asked, given: Given, payout_id: str | None, now: datetime) -> None:
    """Keep an answer. Raises `TwinAtWork` if somebody has answered meanwhile: then nothing of this one may stay."""
    answer = {"status": given.status, "headers": given.headers, "body": given.body.decode()}
    row = {
        **_names(asked),
        "fingerprint": asked.fingerprint,
        "sealed": seal(answer),
        "payout": payout_id,
        "now": now,
    }
    try:
        _REMEMBER.run(session, row)
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        raise TwinAtWork from None


def prune(session: Session, now: datetime, most: int = MOST_PRUNED) -> int:
    """Forget old answers, at most so many; return how many went."""
    return session.connection().execute(_PRUNE, {"old": now - KEPT, "most": most}).rowcount


def _names(asked: Asked) -> dict[str, object]:
    caller = asked.caller
    names = {"organisation": caller.organisation_id, "test_mode": caller.test_mode, "key": asked.key}
    return {**names, "name": f"{caller.organisation_id}/{caller.test_mode}/{asked.key}"}


_RECALL: Final = Quick(
    """
    SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 4837103)) AS is_alone, r.fingerprint, r.sealed
    FROM (VALUES (1)) AS once LEFT JOIN remembered_answer r
        ON r.organisation_id = :organisation AND r.test_mode = :test_mode AND r.key = :key
    """
)
_REMEMBER: Final = Quick(
    """
    INSERT INTO remembered_answer (organisation_id, test_mode, key, fingerprint, sealed, payout_id, created_at)
    VALUES (:organisation, :test_mode, :key, :fingerprint, :sealed, :payout, :now)
    """
)
_IN_FLIGHT: Final = ", ".join(f"'{status}'" for status in sorted(IN_FLIGHT))
_PRUNE: Final = text(
    f"""
    DELETE FROM remembered_answer WHERE ctid = ANY(ARRAY(
        SELECT r.ctid FROM remembered_answer r LEFT JOIN payout p ON p.id = r.payout_id
        WHERE r.created_at < :old AND (p.id IS NULL OR p.status NOT IN ({_IN_FLIGHT}))
        ORDER BY r.created_at LIMIT :most
    ))
    """  # noqa: S608 (our own status words)
)
