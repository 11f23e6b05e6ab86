"""Seal audit lines into a chain: each link's hash covers its line and, by the hash before it, every line so far.

Chaining while a line is added would make all transactions of the installation wait for each other. So lines are
chained afterwards, once no earlier line can appear any more: PostgreSQL numbers transactions, and a snapshot knows the
oldest number that is still at work. Lines of older transactions are chained in the order (transaction, line).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

MOST: Final = 1_000

_SEALING: Final = 4_837_103
"""Advisory lock key: one sealer at a time."""
_COLUMNS: Final = ("id", "transaction_id", "recorded_at", "actor", "action", "entity", "before", "after", "request_id")
_AS_JSON: Final = ("before", "after")
LINE: Final = ", ".join(f"CAST(a.{name} AS text) AS {name}" if name in _AS_JSON else f"a.{name}" for name in _COLUMNS)
"""JSON as text: what is hashed must not depend on how a driver reads numbers."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link: how many lines are sealed, and a hash over all of them. Note it where nobody can change it."""

    sequence: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash.hex()}"

    @classmethod
    def parse(cls, noted: str) -> "Head":
        """Read what `str` wrote. Raises `ValueError`."""
        sequence, _, digest = noted.partition(":")
        parsed = cls(int(sequence), bytes.fromhex(digest))
        if parsed.sequence < 1 or len(parsed.hash) != len(NOTHING.hash):
            raise ValueError("not a head")
        return parsed


NOTHING: Final = Head(0, bytes(32))
"""What the first link follows."""


def canonical(line: Mapping[Any, Any]) -> bytes:
    """Return a line as the bytes that are hashed: JSON with sorted keys, times in UTC, nothing that is null."""
    present = {column: line[column] for column in _COLUMNS if line[column] is not None}
    present |= {column: json.loads(present[column]) for column in _AS_JSON if column in present}
    present["recorded_at"] = line["recorded_at"].astimezone(UTC).isoformat(timespec="microseconds")
    return json.dumps(present, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def link_hash(previous: bytes, line: Mapping[Any, Any]) -> bytes:
    """Return the hash of the link that seals `line` behind the link whose hash is `previous`."""
    return sha256(previous + canonical(line)).digest()


def head(session: Session) -> Head | None:
    """Return the newest link, or None while nothing is sealed."""
    row = session.connection().execute(_HEAD).one_or_none()
    return Head(row.sequence, bytes(row.hash)) if row else None


def seal(session: Session, now: datetime, *, most: int = MOST, everywhere: bool = False) -> list[Head]:
    """Chain up to `most` lines that nothing can come before any more. Returns the new links, in order.

    Normally only lines behind the newest sealed one are looked for. `everywhere` reads the whole table; so does the
    first sealing after a restore into another cluster, where the numbers of transactions start anew.
    """
    connection = session.connection()
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SEALING})
    newest = connection.execute(_HEAD).one_or_none()
    if newest is None or everywhere or newest.is_foreign:
        lines = connection.execute(_ANYWHERE, {"most": most})
    else:
        position = {"transaction": newest.transaction_id, "line": newest.audit_id}
        lines = connection.execute(_BEHIND, {**position, "most": most})
    links, ids = _chained(Head(newest.sequence, bytes(newest.hash)) if newest else NOTHING, lines.mappings())
    rows = {
        "sequences": [link.sequence for link in links],
        "ids": ids,
        "hashes": [link.hash for link in links],
        "now": now,
    }
    if links:
        connection.execute(_LINK, rows)
    return links


def _chained(previous: Head, lines: Iterable[Mapping[Any, Any]]) -> tuple[list[Head], list[int]]:
    links, ids = [], []
    for line in lines:
        previous = Head(previous.sequence + 1, link_hash(previous.hash, line))
        links.append(previous)
        ids.append(line["id"])
    return links, ids


_HEAD: Final = text(
    """
    SELECT l.sequence, l.hash, l.audit_id, a.transaction_id,
        coalesce(a.transaction_id >= CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint), true)
            AS is_foreign
    FROM audit_link l LEFT JOIN audit a ON a.id = l.audit_id ORDER BY l.sequence DESC LIMIT 1
    """
)
"""A line that we see, yet whose transaction is still to come, was restored from another cluster."""

_BEHIND: Final = text(
    f"""
    SELECT {LINE} FROM audit a
    WHERE (a.transaction_id, a.id) > (:transaction, :line)
        AND a.transaction_id < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)
        AND NOT EXISTS (SELECT FROM audit_link l WHERE l.audit_id = a.id)
    ORDER BY a.transaction_id, a.id LIMIT :most
    """  # noqa: S608 (our own columns)
)

_ANYWHERE: Final = text(
    f"""
    WITH snapshot AS (
        SELECT CAST(CAST(pg_snapshot_xmin(now) AS text) AS bigint) AS oldest,
            CAST(CAST(pg_snapshot_xmax(now) AS text) AS bigint) AS next
        FROM pg_current_snapshot() AS now
    )
    SELECT {LINE} FROM audit a CROSS JOIN snapshot s
    WHERE NOT (a.transaction_id >= s.oldest AND a.transaction_id < s.next)
        AND NOT EXISTS (SELECT FROM audit_link l WHERE l.audit_id = a.id)
    ORDER BY a.transaction_id < s.oldest, a.transaction_id, a.id LIMIT :most
    """  # noqa: S608
)

_LINK: Final = text(
    """
    INSERT INTO audit_link (sequence, audit_id, hash, sealed_at)
    SELECT sequence, audit_id, hash, :now
    FROM unnest(CAST(:sequences AS bigint[]), CAST(:ids AS bigint[]), CAST(:hashes AS bytea[]))
        AS l (sequence, audit_id, hash)
    """
)
