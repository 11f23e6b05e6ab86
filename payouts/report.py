"""The stuck-payout report as values: its filters, its rows and its totals."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from models.lifecycle import PayoutStatus
from models.money import InvalidAmount, to_text
from payouts.payload import rfc3339
from payouts.reasons import StuckReason
from payouts.silence import Silence


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which stuck payouts to tell of. None is all."""

    gateway: str | None = None
    integration: str | None = None
    """A slug."""
    status: PayoutStatus | None = None
    reason: StuckReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckPayout:
    """One stuck payout. Holds no secret and nothing of its beneficiary."""

    id: str
    gateway: str
    integration: str
    organisation: str
    order_key: str
    gateway_reference: str | None
    amount_minor: int
    currency: str
    status: PayoutStatus
    submission: str
    reason: StuckReason
    stuck_since: datetime
    """When its status last moved."""
    age: timedelta
    threshold: timedelta | None
    """How long would have been normal; None where any time is too long."""
    last_evidence_at: datetime | None
    last_evidence_source: str | None
    polls: int
    poll_failures: int
    poll_failure: str | None
    next_poll_at: datetime | None

    @property
    def amount(self) -> str:
        """Its amount as decimal text."""
        return amount_text(self.amount_minor, self.currency)

    def document(self) -> dict[str, Any]:
        """Return it as JSON values: decimal text, RFC 3339, seconds."""
        return {
            "id": self.id,
            "gateway": self.gateway,
            "integration": self.integration,
            "organisation": self.organisation,
            "order_key": self.order_key,
            "gateway_reference": self.gateway_reference,
            "amount": self.amount,
            "currency": self.currency,
            "status": self.status,
            "submission": self.submission,
            "reason": self.reason,
            "stuck_since": rfc3339(self.stuck_since),
            "age_seconds": int(self.age.total_seconds()),
            "threshold_seconds": None if self.threshold is None else int(self.threshold.total_seconds()),
            "last_evidence_at": rfc3339(self.last_evidence_at),
            "last_evidence_source": self.last_evidence_source,
            "polls": self.polls,
            "poll_failures": self.poll_failures,
            "poll_failure": self.poll_failure,
            "next_poll_at": rfc3339(self.next_poll_at),
        }


@dataclass(frozen=True, slots=True)
class Group:
    """How many stuck payouts share a reason, a gateway and a currency, and their sum."""

    reason: StuckReason
    gateway: str
    currency: str
    number: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class StuckReport:
    """Some stuck payouts, oldest first and then largest first, and totals over all that pass the filters."""

    as_of: datetime
    stuck: tuple[StuckPayout, ...]
    groups: tuple[Group, ...]
    silences: tuple[Silence, ...] = field(repr=False)
    """What was taken as normal."""

    @property
    def total(self) -> int:
        """How many there are, shown or not."""
        return sum(group.number for group in self.groups)

    @property
    def by_reason(self) -> dict[StuckReason, int]:
        """Numbers, in order of precedence; reasons that nobody has are left out."""
        numbers = self._sum("reason", "number")
        return {reason: numbers[reason] for reason in StuckReason if reason in numbers}

    @property
    def by_gateway(self) -> dict[str, int]:
        """Numbers, most first."""
        return dict(sorted(self._sum("gateway", "number").items(), key=lambda item: (-item[1], item[0])))

    @property
    def by_currency(self) -> dict[str, tuple[int, str]]:
        """Per currency how many, and their sum as decimal text."""
        numbers, sums = self._sum("currency", "number"), self._sum("currency", "amount_minor")
        return {currency: (numbers[currency], amount_text(sums[currency], currency)) for currency in sorted(numbers)}

    def summary(self) -> dict[str, Any]:
        """Return the totals and when they were true as JSON values."""
        sums = {name: {"number": number, "amount": amount} for name, (number, amount) in self.by_currency.items()}
        reasons = {reason.value: number for reason, number in self.by_reason.items()}
        by = {"by_reason": reasons, "by_gateway": self.by_gateway, "by_currency": sums}
        return {"totals": {"number": self.total, **by}, "as_of": rfc3339(self.as_of)}

    def _sum(self, key: str, value: str) -> dict[Any, int]:
        sums: dict[Any, int] = {}
        for group in self.groups:
            sums[getattr(group, key)] = sums.get(getattr(group, key), 0) + getattr(group, value)
        return sums


def amount_text(amount_minor: int, currency: str) -> str:
    """Return an amount as decimal text; in minor units, said so, for a currency that nobody defines."""
    try:
        return to_text(amount_minor, currency)
    except InvalidAmount:  # the report must not fail for one odd row
        return f"{amount_minor} minor"
