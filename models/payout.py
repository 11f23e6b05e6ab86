"""Payout, Observation (what was said) and PayoutEvent (what changed)."""

import secrets
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Date,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

import models.integration
import models.organisation  # noqa: F401 (foreign keys need the tables they point at)
from models.database import metadata
from models.ids import new_id
from models.lifecycle import IN_FLIGHT, PayoutStatus

_HELD_DAY = (  # in PostgreSQL's own words, so that models and migrations can be compared
    "CASE WHEN status::text = 'pending'::text OR status::text = 'scheduled'::text THEN business_day ELSE NULL::date END"
)
_IN_FLIGHT_SQL = ", ".join(f"'{status}'" for status in sorted(IN_FLIGHT))


class SubmissionState(StrEnum):
    """Whether we managed to hand the payout over: a different fact from its status."""

    UNSENT = "unsent"
    SENDING = "sending"
    """Committed before the request leaves, so that a crash is found as `sending`, never as `unsent`."""
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    """Asked about, never retried."""
    NOT_RECEIVED = "not_received"
    """Past the gateway's visibility window it still knows nothing of it."""


class Source(StrEnum):
    """Whose word an observation is."""

    WEBHOOK = "webhook"
    POLL = "poll"
    SUBMISSION = "submission"
    OPERATOR = "operator"
    PARTNER = "partner"
    """Who asked for it, and when it is to leave. Nobody's word on where the money is."""


ASKED: Final = frozenset({Source.POLL, Source.SUBMISSION, Source.OPERATOR})
"""Whose word gives money back: we asked the gateway, it answered our own request, or a person decided."""


class Payout(SQLModel, table=True, metadata=metadata):
    """Money on its way out. `status` and all that follows from it change only in payouts/observe.py."""

    __table_args__ = (
        UniqueConstraint("integration_id", "order_key"),
        UniqueConstraint("integration_id", "gateway_reference"),
        CheckConstraint(f"status IN ({', '.join(repr(str(status)) for status in PayoutStatus)})", name="status_known"),
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
        CheckConstraint(
            f"next_poll_at IS NOT NULL OR status NOT IN ({_IN_FLIGHT_SQL})", name="in_flight_has_a_next_poll"
        ),
        # A partner's list: its own, of its key's mode, newest first.
        Index("ix_payout_listed", "organisation_id", "test_mode", "id"),
        Index(
            "ix_payout_partner_reference",
            "organisation_id",
            "partner_reference",
            postgresql_where=text("partner_reference IS NOT NULL"),
        ),
        Index("ix_payout_due", "integration_id", "next_poll_at", postgresql_where=text("next_poll_at IS NOT NULL")),
        Index("ix_payout_quiet", "quiet_since", postgresql_where=text("quiet_since IS NOT NULL")),
        CheckConstraint(
            f"quiet_since IS NOT NULL OR NOT (status IN ({_IN_FLIGHT_SQL}))", name="in_flight_is_quiet_since"
        ),
        CheckConstraint("quiet_since <= advanced_at", name="quiet_since_no_later"),
        # The few that the stuck-payout report must find whatever their status and however many are in flight.
        Index("ix_payout_disputed", "id", postgresql_where=text("is_disputed")),
        Index(
            "ix_payout_unconfirmed",
            "id",
            postgresql_where=text("submission IN ('sending', 'unknown', 'not_received')"),
        ),
        CheckConstraint(
            "(balance_id IS NULL) = (debit_minor IS NULL) AND (balance_id IS NULL) = (fee_minor IS NULL)",
            name="debit_from_a_balance",
        ),
        CheckConstraint("fee_minor >= 0 AND debit_minor >= fee_minor", name="debit_covers_the_fee"),
        # One payout of a whole balance a day. The index is the last to know; payouts/balances.py says so before.
        Index(
            "uq_payout_balance_day",
            "balance_id",
            "held_day",
            unique=True,
            postgresql_where=text("held_day IS NOT NULL"),
        ),
        # Payouts that are created together are heard of together: room for a second version of each beside it. At 80
        # a quarter of a burst's updates left every index alone, at 40 nearly all (docs/decisions/0016).
        {"postgresql_with": {"fillfactor": "40"}},
    )

    id: str = Field(default_factory=lambda: new_id("pay"), primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id")
    integration_id: int = Field(foreign_key="integration.id")
    order_key: str
    """Our key at the gateway: unique per integration, its idempotency key where it has one."""
    gateway_reference: str | None = None
    amount_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    currency: str
    description: str = ""
    details: bytes | None = Field(default=None, repr=False)
    """Sealed: what the gateway needs beyond the amount."""
    memento: bytes | None = Field(default=None, repr=False)
    """Sealed: what its submission must still know after a crash, written together with `sending`."""
    test_mode: bool = False
    partner_reference: str | None = None
    """The partner's own name for it. Not unique: it is theirs."""
    partner_metadata: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    mode: str | None = None
    """How it travels: bank_transfer, mobile_money and the like."""
    destination_label: str | None = None
    """What may be shown of where it goes: `•••• 0001`."""
    scheduled_at: datetime | None = None
    """When it is to be handed over; None is at once."""
    tracking_token: str = Field(
        default_factory=lambda: secrets.token_hex(16),
        unique=True,
        repr=False,
        sa_column_kwargs={"server_default": text("replace((gen_random_uuid())::text, '-'::text, ''::text)")},
    )
    """Opens the beneficiary's page: whoever has it may look, and nobody can guess it."""
    balance_id: str | None = None
    """What it is paid from, where its organisation has paid in beforehand."""
    debit_minor: int | None = Field(default=None, sa_column=Column(BigInteger))
    """What it costs there, the fee included, in the balance's currency."""
    fee_minor: int | None = Field(default=None, sa_column=Column(BigInteger))
    """Of that, ours."""
    quote_id: str | None = None
    business_day: date | None = None
    """Of a payout of a balance: the day it leaves."""
    held_day: date | None = Field(
        default=None,
        sa_column=Column(Date, Computed(_HELD_DAY, persisted=True)),
    )
    """That day until it has left. An index of its own, because one that names the status would be touched by all."""

    status: str = Field(default=PayoutStatus.PENDING, sa_column_kwargs={"server_default": "pending"})
    epoch: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    submission: str = Field(default=SubmissionState.UNSENT, sa_column_kwargs={"server_default": "unsent"})
    submitted_at: datetime | None = None
    is_disputed: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    dispute: str | None = None
    processed_amount_minor: int | None = Field(default=None, sa_column=Column(BigInteger))
    costs: dict[str, int] | None = Field(default=None, sa_column=Column(JSONB))
    """Fees and the like as the gateway reports them, in minor units, each as it was last heard."""
    failure_code: str | None = None
    failure_message: str | None = None
    estimated_delivery_at: datetime | None = None
    """The gateway's own word. What is shown is derived: payouts/estimate.py."""
    route_seconds: int | None = None
    """From submission to arrival, as its quote had it."""
    sequence: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How many payout events it has had."""

    created_at: datetime
    advanced_at: datetime
    """When the status last moved, by our clock; at first, when it was created."""
    quiet_since: datetime | None = None
    """While it is in flight: the same, or earlier. The index for what is stuck; moves only when `next_poll_at` does."""
    occurred_at: datetime | None = None
    """When that happened, by the gateway's clock; or when what has arrived was last told, if that is later."""
    last_evidence_at: datetime | None = None
    last_evidence_source: str | None = None
    polls: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    poll_step: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Where it stands on its poll schedule; starts anew with every advance."""
    poll_failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Polls in a row that taught us nothing."""
    poll_failure: str | None = None
    next_poll_at: datetime | None = None


class Observation(SQLModel, table=True, metadata=metadata):
    """One thing that was said about a payout, kept whether or not it changed anything."""

    __table_args__ = (Index("ix_observation_payout", "payout_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    payout_id: str
    epoch: int
    source: str
    inbox_event_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    said: str
    """The gateway's own word."""
    status: str | None = None
    """That word in ours; None for a hint."""
    effect: str
    """advanced, stale or hint."""
    occurred_at: datetime | None = None
    recorded_at: datetime
    note: str | None = None
    processed_amount_minor: int | None = Field(default=None, sa_column=Column(BigInteger))
    """What has arrived by it. None where it named nothing, or something that a newer word has outdone."""


class PayoutEvent(SQLModel, table=True, metadata=metadata):
    """One change of one payout's status: what partners receive, word for word."""

    __tablename__ = "payout_event"
    __table_args__ = (
        UniqueConstraint("payout_id", "sequence"),
        Index("ix_payout_event_owner", "organisation_id", "test_mode", "id"),
    )

    id: str = Field(default_factory=lambda: new_id("evt"), primary_key=True)
    payout_id: str
    organisation_id: str
    """Of its payout, as `test_mode` is: a partner's list of events walks one index."""
    test_mode: bool
    sequence: int
    previous_status: str | None = None
    """None for its first event, when it was created."""
    status: str
    source: str
    occurred_at: datetime | None = None
    created_at: datetime
    payload: str | None = Field(default=None, repr=False)
    """The JSON body, made once, so that every attempt at every endpoint sends the same bytes. None once pruned."""
