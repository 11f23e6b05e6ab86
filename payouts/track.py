"""What whoever waits for the money may see of a payout: how much, how far, and when. Nothing about anybody.

The token in the link is all that is asked for, so nothing is read here that a stranger who found it should not see.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from models.lifecycle import IN_FLIGHT, PayoutStatus
from models.money import to_text
from payouts.estimate import expected_at

_TOKEN: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Step:
    """One status that it had."""

    status: PayoutStatus
    at: datetime
    """By the gateway's clock where it told the time."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """A payout as its beneficiary may see it."""

    status: PayoutStatus
    amount: str
    currency: str
    arrived: str | None
    """What arrived, where that is known to be less."""
    destination: str | None
    """Masked: `•••• 0001`."""
    expected_at: datetime | None
    """While it is on its way; recomputed as it advances."""
    test_mode: bool
    steps: tuple[Step, ...]
    """Oldest first."""

    @property
    def is_on_its_way(self) -> bool:
        """Tell whether news is expected."""
        return self.status in IN_FLIGHT


def tracked(session: Session, token: str) -> Tracked | None:
    """Return what a tracking link shows, or None where it opens nothing."""
    if not _TOKEN.fullmatch(token):
        return None
    row = session.connection().execute(_PAYOUT, {"token": token}).one_or_none()
    if row is None:
        return None
    status = PayoutStatus(row.status)
    steps = session.connection().execute(_STEPS, {"payout": row.id})
    arrived = row.processed_amount_minor
    is_less = status is PayoutStatus.DELIVERED and arrived is not None and arrived < row.amount_minor
    return Tracked(
        status,
        to_text(row.amount_minor, row.currency),
        row.currency,
        to_text(arrived, row.currency) if is_less else None,
        row.destination_label,
        expected_at(row),
        row.test_mode,
        tuple(Step(PayoutStatus(step.status), step.at) for step in steps),
    )


_PAYOUT: Final = text(
    """
    SELECT id, status, amount_minor, currency, processed_amount_minor, destination_label, test_mode,
        estimated_delivery_at, route_seconds, submitted_at, scheduled_at, created_at, advanced_at
    FROM payout WHERE tracking_token = :token
    """
)
_STEPS: Final = text(
    """
    SELECT status, coalesce(occurred_at, created_at) AS at FROM payout_event
    WHERE payout_id = :payout ORDER BY sequence
    """
)
