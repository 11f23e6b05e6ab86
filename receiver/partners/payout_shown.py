"""A payout as the API shows it. The words are those of payouts/payload.py: webhooks and answers say the same."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from sqlmodel import Session, col, select

from models.lifecycle import PayoutStatus
from models.payout import Payout, PayoutEvent
from payouts.payload import as_shown
from receiver.partners.shapes import Moment, Shown


class Failure(Shown):
    """Why it did not arrive, in the gateway's words."""

    code: str
    message: str | None


class Costs(Shown):
    """What the gateway says it costs, as far as it says."""

    fees: str | None
    commission: str | None
    amount_transferred: Annotated[str | None, Field(description="What the beneficiary gets")]
    amount_debited: Annotated[str | None, Field(description="What the account pays")]


class Step(Shown):
    """One status that it had."""

    status: PayoutStatus
    at: Annotated[Moment, Field(description="By the gateway's clock where it told the time")]


class PayoutShown(Shown):
    """A payout."""

    id: Annotated[str, Field(examples=["pay_019a3c4e5f607182a1b2c3d4e5f6"])]
    reference: Annotated[str | None, Field(description="Your own name for it")]
    status: PayoutStatus
    amount: Annotated[str, Field(examples=["2500"])]
    currency: Annotated[str, Field(examples=["XOF"])]
    processed_amount: Annotated[str | None, Field(description="What arrived, where the gateway tells; it may be less")]
    costs: Costs | None
    mode: Annotated[str | None, Field(description="How it travels")]
    scheduled_at: Annotated[Moment | None, Field(description="When it was to leave; null is at once")]
    estimated_delivery_at: Moment | None
    tracking_url: Annotated[str, Field(description="A page for whoever waits for the money")]
    failure: Failure | None
    metadata: dict[str, str]
    test_mode: bool
    created_at: Moment
    timeline: Annotated[list[Step], Field(description="Oldest first")]


def show(session: Session, payouts: Sequence[Payout]) -> list[PayoutShown]:
    """Return payouts as their partner reads them, with two statements for any number of them."""
    steps: dict[str, list[dict[str, Any]]] = {payout.id: [] for payout in payouts}
    events = select(PayoutEvent.payout_id, PayoutEvent.status, PayoutEvent.occurred_at, PayoutEvent.created_at)
    events = events.where(col(PayoutEvent.payout_id).in_(steps)).order_by(col(PayoutEvent.sequence))
    for payout_id, status, occurred_at, created_at in session.exec(events):
        steps[payout_id].append({"status": status, "at": occurred_at or created_at})
    return [PayoutShown.model_validate({**as_shown(payout), "timeline": steps[payout.id]}) for payout in payouts]
