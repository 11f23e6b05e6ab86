"""Who did what to what, and what it was before: one line for every decision, in the transaction that carries it out.

Lines are only ever added; the database refuses everything else. Adding one is a plain INSERT that waits for nobody.
Afterwards the reconciler chains the lines, each hash over the one before it, so that a change made behind the
database's back is found (models/audit_chain.py, docs/decisions/0005).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import BigInteger, Column, Identity, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, Session, SQLModel

from models.database import Quick, metadata


class AuditLine(SQLModel, table=True, metadata=metadata):
    """One thing that somebody did. Never a secret, an account number or a raw body."""

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_transaction", "transaction_id", "id"),
        Index("ix_audit_entity", "entity", "id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    transaction_id: int = Field(
        sa_column=Column(BigInteger, nullable=False, server_default=text("((pg_current_xact_id())::text)::bigint"))
    )
    """PostgreSQL's number of the transaction that added it: it tells when no earlier line can appear any more."""
    recorded_at: datetime
    actor: str
    """`operator:NAME`, `cli:USER`, `key:PREFIX`, `internal` or `system`."""
    action: str
    """What was done, as past-tense words: `payout.created`, `switch.thrown`."""
    entity: str
    """To what: a public id, or `integration:SLUG`, `operator:NAME`, `inbox:ID`."""
    before: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    after: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    request_id: str | None = None


class AuditLink(SQLModel, table=True, metadata=metadata):
    """One link of the chain that seals the lines: SHA-256 over the hash before it and the line's canonical JSON."""

    __tablename__ = "audit_link"

    sequence: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    audit_id: int = Field(sa_column=Column(BigInteger, nullable=False, unique=True))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    sealed_at: datetime


def record(  # noqa: PLR0913 (one for each column, by name)
    session: Session,
    *,
    actor: str,
    action: str,
    entity: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    request_id: str | None = None,
    now: datetime,
) -> None:
    """Add one line in the caller's transaction: it is there exactly if what it tells of is."""
    line = {
        "now": now,
        "actor": actor,
        "action": action,
        "entity": entity,
        "before": _json(before),
        "after": _json(after),
        "request_id": request_id,
    }
    _ADD.run(session, line)


def _json(values: Mapping[str, Any] | None) -> str | None:
    return None if values is None else orjson.dumps(dict(values)).decode()


_ADD: Final = Quick(
    """
    INSERT INTO audit (recorded_at, actor, action, entity, before, after, request_id)
    VALUES (:now, :actor, :action, :entity, CAST(:before AS jsonb), CAST(:after AS jsonb), :request_id)
    """
)
