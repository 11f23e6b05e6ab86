"""Direct payouts: an amount to a person, through a gateway that the partner names or that we choose.

Choosing is simple here: the first account, in the order in which they were added, that no guard refuses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlmodel import Session

from connectors import connector_class
from connectors._base import Address, Wish
from payouts.create import Created, NewPayout, Refused, create
from payouts.destinations import address_at
from payouts.integrations import Candidate, candidates

GOES_ON: Final = frozenset(
    {
        "payouts_disabled",
        "payouts_unsupported",
        "webhook_secret_missing",
        "currency_unsupported",
        "missing_detail",
    }
)
"""What is wrong with one account and may be right with the next. All of it is said before anything is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectPayout:
    """What a partner asks for."""

    organisation: str
    """Its name."""
    organisation_id: str
    test_mode: bool
    amount_minor: int
    currency: str
    wish: Wish
    gateway: str | None = None
    """An integration's slug or a gateway's name; None lets us choose."""
    scheduled_at: datetime | None = None
    description: str = ""
    reference: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def create_direct(
    session: Session, asked: DirectPayout, now: datetime, *, actor: str, request_id: str | None = None
) -> Created:
    """Create it at the first account that can carry it. Raises `Refused`, upon which the caller must roll back."""
    refusals: list[Refused] = []
    for integration in candidates(session, test_mode=asked.test_mode, gateway=asked.gateway):
        if not asked.gateway and not connector_class(integration.connector).SUPPORTS_PAYOUTS:
            continue
        try:
            new = _new(asked, integration, address_at(integration, asked.wish))
            return create(
                session, new, now, actor=actor, request_id=request_id, integration=integration, rolls_back=True
            )
        except Refused as refused:
            if refused.code not in GOES_ON:
                raise
            refusals.append(refused)
    raise _nowhere(asked, refusals)


def _new(asked: DirectPayout, integration: Candidate, address: Address) -> NewPayout:
    return NewPayout(
        integration=integration.slug,
        organisation=asked.organisation,
        organisation_id=asked.organisation_id,
        order_key=None,
        amount_minor=asked.amount_minor,
        currency=asked.currency,
        description=asked.description,
        details=address.details,
        test_mode=asked.test_mode,
        partner_reference=asked.reference,
        metadata=asked.metadata,
        mode=asked.wish.mode,
        destination_label=address.label,
        scheduled_at=asked.scheduled_at,
    )


def _nowhere(asked: DirectPayout, refusals: Sequence[Refused]) -> Refused:
    """Say why nobody can carry it. Of accounts that the partner did not name, only what they lack, not their names."""
    if asked.gateway and refusals:
        return refusals[0]
    mode = "test" if asked.test_mode else "live"
    if asked.gateway:
        return Refused("unknown_gateway", f"no active {mode} account is called {asked.gateway}, nor is its gateway")
    lacks = dict.fromkeys(_lack(refused) for refused in refusals)
    why = f": {'; '.join(lacks)}" if lacks else ""
    return Refused("no_gateway", f"there is no active {mode} account that could carry it{why}")


def _lack(refused: Refused) -> str:
    return str(refused) if refused.code == "missing_detail" else refused.code
