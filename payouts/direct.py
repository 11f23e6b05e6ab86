"""Direct payouts: an amount to a person, through a gateway that the partner names or that we choose.

Choosing is simple here: the first account, in the order in which they were added, that no guard refuses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from connectors import connector_class
from connectors._base import Address, Wish
from models.integration import Integration
from payouts.create import Created, NewPayout, Refused, create
from payouts.destinations import address_at

GOES_ON: Final = frozenset(
    {
        "payouts_disabled",
        "payouts_unsupported",
        "webhook_secret_missing",
        "currency_unsupported",
        "missing_detail",
    }
)
"""What is wrong with one account and may be right with the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectPayout:
    """What a partner asks for."""

    organisation: str
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
    """Create it at the first account that can carry it. Raises `Refused`."""
    refusals: list[Refused] = []
    for integration in _candidates(session, asked):
        try:
            new = _new(asked, integration, address_at(integration, asked.wish))
            return create(session, new, now, actor=actor, request_id=request_id)
        except Refused as refused:
            if refused.code not in GOES_ON:
                raise
            refusals.append(refused)
    raise _nowhere(asked, refusals)


def _candidates(session: Session, asked: DirectPayout) -> Sequence[Integration]:
    wanted = select(Integration).where(col(Integration.is_active), Integration.test_mode == asked.test_mode)
    if asked.gateway:
        wanted = wanted.where((Integration.slug == asked.gateway) | (Integration.connector == asked.gateway))
    return [
        integration
        for integration in session.exec(wanted.order_by(col(Integration.id)))
        if asked.gateway or connector_class(integration.connector).SUPPORTS_PAYOUTS
    ]


def _new(asked: DirectPayout, integration: Integration, address: Address) -> NewPayout:
    return NewPayout(
        integration=integration.slug,
        organisation=asked.organisation,
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
