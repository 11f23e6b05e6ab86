"""Balance (what an organisation has with us, in one currency and one mode) and its ledger."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, Integer, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

import models.organisation  # noqa: F401 (foreign keys need the tables they point at)
from models.database import metadata
from models.ids import new_id


class Account(StrEnum):
    """Where money stands. The first three are the organisation's own and make up its balance; the others face them."""

    AVAILABLE = "available"
    """May be paid out."""
    HELD = "held"
    """Spoken for by payouts whose fate is open."""
    RESERVE = "reserve"
    """Kept back, because somebody decided so."""
    OUT = "out"
    """Arrived at beneficiaries."""
    FEES = "fees"
    """Ours, for the service."""
    FUNDING = "funding"
    """The world it came from; negative by nature."""
    ADJUSTMENTS = "adjustments"
    """Corrections and chargebacks, each with its reason."""


OWN: Final = (Account.AVAILABLE, Account.HELD, Account.RESERVE)


class EntryKind(StrEnum):
    """What happened."""

    CREDITED = "credited"
    ADJUSTED = "adjusted"
    CHARGED = "charged"
    """A fee that belongs to no payout."""
    RESERVED = "reserved"
    HELD = "held"
    """A payout was created."""
    RESUMED = "resumed"
    """It is held again: a payout that was given up for lost is under way, or less has arrived than was said before."""
    SETTLED = "settled"
    RELEASED = "released"
    RETURNED = "returned"


STRICT: Final = (EntryKind.HELD, EntryKind.RESERVED)
"""What may never take a balance below zero. The rest tells of what has happened already, and is booked all the same."""


class BalanceStatus(StrEnum):
    """Whether payouts may leave it."""

    ACTIVE = "active"
    INACTIVE = "inactive"


class Frequency(StrEnum):
    """How often a balance is paid out by itself."""

    NEVER = "never"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


def _one_of(column: str, words: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(str(word)) for word in words)})"


class Balance(SQLModel, table=True, metadata=metadata):
    """One organisation's money in one currency and one mode.

    The three totals are sums of ledger entries. The database adds them up itself, in the statement that adds the
    entries; nothing else writes them.
    """

    __table_args__ = (
        UniqueConstraint("organisation_id", "test_mode", "currency"),
        CheckConstraint("held_minor >= 0", name="held_not_negative"),
        CheckConstraint("reserve_minor >= 0", name="reserve_not_negative"),
        CheckConstraint("negative_threshold_minor >= 0", name="threshold_not_negative"),
        CheckConstraint("queued_refunds >= 0", name="queued_refunds_not_negative"),
        CheckConstraint("overdraft_minor >= 0", name="overdraft_not_negative"),
        # Only what has happened already moves `overdraft_minor` (see `STRICT`), so no hold can make this false.
        CheckConstraint("balance_minor - held_minor - reserve_minor >= -overdraft_minor", name="not_overdrawn"),
        CheckConstraint(_one_of("status", BalanceStatus), name="status_known"),
        CheckConstraint(_one_of("transfer_frequency", Frequency), name="frequency_known"),
        {"postgresql_with": {"fillfactor": "50"}},  # a hot balance is rewritten with every payout
    )

    id: str = Field(default_factory=lambda: new_id("bal"), primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id")
    test_mode: bool
    currency: str
    status: str = Field(default=BalanceStatus.ACTIVE, sa_column_kwargs={"server_default": "active"})

    balance_minor: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """All that is the organisation's own: available, held and reserve."""
    held_minor: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    reserve_minor: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    overdraft_minor: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """How far below zero fees, chargebacks and late news have taken it. A new hold never does."""

    negative_threshold_minor: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """Further below zero than this, and nothing of the organisation is paid out."""
    queued_refunds: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Refunds that wait for money; it is not paid out over their heads."""
    payouts_blocked: str | None = None
    """Why nothing may leave it, or None."""
    transfer_frequency: str = Field(default=Frequency.NEVER, sa_column_kwargs={"server_default": "never"})
    next_transfer_at: datetime | None = None
    """When it is paid out by itself next."""
    destination_integration_id: int | None = None
    """Which integration its payouts go through."""
    destination: bytes | None = Field(default=None, repr=False)
    """Sealed: where its payouts go, as the gateway wants it."""
    destination_label: str | None = None
    """What of that may be shown."""
    created_at: datetime

    @property
    def available_minor(self) -> int:
        """What may be paid out now."""
        return self.balance_minor - self.held_minor - self.reserve_minor


class LedgerEntry(SQLModel, table=True, metadata=metadata):
    """One line of one ledger transaction. A transaction's lines are added together and sum to zero. Append-only."""

    __tablename__ = "ledger_entry"
    __table_args__ = (
        CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
        CheckConstraint(_one_of("account", Account), name="account_known"),
        CheckConstraint(_one_of("kind", EntryKind), name="kind_known"),
        Index("ix_ledger_entry_balance", "balance_id", "transaction_id"),
        Index("ix_ledger_entry_payout", "payout_id", postgresql_where=text("payout_id IS NOT NULL")),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    transaction_id: str
    balance_id: str
    account: str
    kind: str
    amount_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Positive into the account, negative out of it."""
    payout_id: str | None = None
    note: str | None = None
    """Why, where a person did it."""
    created_at: datetime


class BooksCheck(SQLModel, table=True, metadata=metadata):
    """What the last proof of the books has found. One row; the log tells of earlier ones."""

    __tablename__ = "books_check"
    __table_args__ = (CheckConstraint("id = 1", name="only_one"),)

    id: int = Field(default=1, sa_column=Column(Integer, primary_key=True, autoincrement=False))
    checked_at: datetime
    violations: list[str] = Field(sa_column=Column(JSONB, nullable=False))
    """Each in words; the first ones only, if there are many."""
    number: int
    """Of all of them."""
    waiting: list[str] = Field(sa_column=Column(JSONB, nullable=False))
    """Payouts that are over, whose money nobody has spoken for, and that nobody asks about any more."""


class BooksBase(SQLModel, table=True, metadata=metadata):
    """What the last whole proof has proven, for later ones to stand on. One row, or none while something is wrong."""

    __tablename__ = "books_base"
    __table_args__ = (CheckConstraint("id = 1", name="only_one"),)

    id: int = Field(default=1, sa_column=Column(Integer, primary_key=True, autoincrement=False))
    proven_at: datetime
    up_to: int = Field(sa_column=Column(BigInteger, nullable=False))
    """The last ledger entry that it sums up."""
    sums: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    """Of each balance: id, own, held, reserve."""
    holders: list[str] = Field(sa_column=Column(JSONB, nullable=False))
    """Payouts that were over then and still held money."""
