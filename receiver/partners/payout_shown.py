"""A payout as the API shows it. The words are those of payouts/payload.py: webhooks and answers say the same."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from sqlmodel import Session, col, select

from models.lifecycle import PayoutStatus
from models.money import to_text
from models.payout import Payout, PayoutEvent
from models.quote import Quote
from payouts.payload import as_shown
from payouts.standing import Standing
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


class QuoteUsed(Shown):
    """What was promised."""

    quote_id: str
    asset: str
    user_sends: Annotated[str, Field(description="In the asset, fees included")]
    fee_total: str
    recipient_gets: Annotated[str, Field(description="In the payout's currency")]
    network: str | None
    estimated_seconds: int


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
    estimated_delivery_at: Annotated[
        Moment | None,
        Field(description="Recomputed as it advances; in the past, it is late. Null once it is over, or where unknown"),
    ]
    tracking_url: Annotated[str, Field(description="A page for whoever waits for the money")]
    failure: Annotated[Failure | None, Field(description="Of one that failed, was canceled or came back")]
    metadata: dict[str, str]
    test_mode: bool
    created_at: Moment
    balance_id: Annotated[str | None, Field(description="The balance that pays it")]
    quote: Annotated[QuoteUsed | None, Field(description="The quote that it was made of")]
    timeline: Annotated[list[Step], Field(description="Oldest first")]


def show(session: Session, payouts: Sequence[Payout]) -> list[PayoutShown]:
    """Return payouts as their partner reads them, with three statements at most for any number of them."""
    steps: dict[str, list[dict[str, Any]]] = {payout.id: [] for payout in payouts}
    events = select(PayoutEvent.payout_id, PayoutEvent.status, PayoutEvent.occurred_at, PayoutEvent.created_at)
    events = events.where(col(PayoutEvent.payout_id).in_(steps)).order_by(col(PayoutEvent.sequence))
    for payout_id, status, occurred_at, created_at in session.exec(events):
        steps[payout_id].append({"status": status, "at": occurred_at or created_at})
    used = _quotes(session, payouts)
    return [_shown(payout, steps[payout.id], used.get(payout.quote_id or "")) for payout in payouts]


def show_new(standing: Standing, steps: Sequence[PayoutStatus]) -> PayoutShown:
    """Return a payout that was written a moment ago, of no quote, without reading it again."""
    return _shown(standing, [{"status": step, "at": standing.created_at} for step in steps], None)


def _shown(payout: Payout | Standing, timeline: list[dict[str, Any]], quote: QuoteUsed | None) -> PayoutShown:
    more = {"timeline": timeline, "balance_id": payout.balance_id, "quote": quote}
    return PayoutShown.model_validate({**as_shown(payout), **more})


def _quotes(session: Session, payouts: Sequence[Payout]) -> dict[str, QuoteUsed]:
    ids = {payout.quote_id for payout in payouts if payout.quote_id}
    found = session.exec(select(Quote).where(col(Quote.id).in_(ids))) if ids else ()
    return {
        quote.id: QuoteUsed(
            quote_id=quote.id,
            asset=quote.asset,
            user_sends=to_text(quote.send_minor, quote.asset),
            fee_total=to_text(quote.fee_minor, quote.asset),
            recipient_gets=to_text(quote.get_minor, quote.currency),
            network=quote.network or None,
            estimated_seconds=quote.estimated_seconds,
        )
        for quote in found
    }
