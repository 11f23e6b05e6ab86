"""/v1/payouts: create, list, get, follow."""

from dataclasses import replace
from typing import Annotated, Final

from pydantic import Field
from sqlmodel import col, select

from models.api_key import Scope
from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout, PayoutEvent, Source
from payouts.cancel import GatewayCall, Wish, call_off
from receiver.partners.fields import Line
from receiver.partners.operation import Call, Operation, operation
from receiver.partners.payout_shown import PayoutShown, show
from receiver.partners.refusals import Refusal
from receiver.partners.shapes import Moment, Page, PageQuery, Shown
from receiver.partners.sight import TimedQuery
from workers.apply import queue_what_follows
from workers.cancel import finish


class PayoutsQuery(TimedQuery):
    """Which payouts are wanted."""

    status: Annotated[PayoutStatus | None, Field(description="Only those in this status")] = None
    reference: Annotated[Line | None, Field(min_length=1, max_length=100, description="Only those you named so")] = None


@operation("GET", "/v1/payouts", scope=Scope.PAYOUTS_READ, tag="payouts", summary="List payouts")
def list_payouts(call: Call, query: PayoutsQuery) -> Page[PayoutShown]:
    """Newest first."""
    wanted = select(Payout).where(
        Payout.organisation_id == call.caller.organisation_id, Payout.test_mode == call.caller.test_mode
    )
    if query.after:
        wanted = wanted.where(col(Payout.id) < query.after)
    if query.status:
        wanted = wanted.where(Payout.status == query.status)
    if query.reference:
        wanted = wanted.where(Payout.partner_reference == query.reference)
    if query.since:
        wanted = wanted.where(col(Payout.created_at) >= query.since)
    if query.until:
        wanted = wanted.where(col(Payout.created_at) < query.until)
    found = call.session.exec(wanted.order_by(col(Payout.id).desc()).limit(query.limit + 1)).all()
    has_more, shown = len(found) > query.limit, show(call.session, found[: query.limit])
    return Page(data=shown, has_more=has_more, next_cursor=shown[-1].id if has_more else None)


@operation(
    "GET",
    "/v1/payouts/{payout_id}",
    scope=Scope.PAYOUTS_READ,
    tag="payouts",
    summary="Get a payout",
    refusals=("unknown_payout",),
)
def get_payout(call: Call, payout_id: str) -> PayoutShown:
    """Where it stands, and how it got there."""
    return show(call.session, [find(call, payout_id)])[0]


@operation(
    "DELETE",
    "/v1/payouts/{payout_id}",
    scope=Scope.PAYOUTS_WRITE,
    tag="payouts",
    summary="Cancel a payout",
    refusals=("unknown_payout", "not_cancelable", "cancel_unconfirmed", "gateway_unavailable"),
)
def cancel_payout(call: Call, payout_id: str) -> PayoutShown:
    """Call it off while it is pending or scheduled. Canceling it again changes nothing.

    One that its gateway has already is called off there, where the gateway can; this may take some seconds.
    """
    find(call, payout_id)
    wish = Wish(Source.PARTNER, call.actor, call.request_id)
    called_off = call_off(call.session, payout_id, wish, call.now)
    call.then(lambda: queue_what_follows(called_off.observed))
    if remains := called_off.remains:
        call.ask_outside(lambda: _cancel_outside(call, remains))
    return show(call.session, [find(call, payout_id)])[0]


def _cancel_outside(call: Call, remains: GatewayCall) -> PayoutShown:
    finish(remains)
    with transaction() as session:
        return show(session, [find(replace(call, session=session), remains.payout_id)])[0]


class PayoutEventShown(Shown):
    """One change of a payout's status: what a webhook told, without its body."""

    id: Annotated[str, Field(description="The `webhook-id` under which it is delivered")]
    type: Annotated[str, Field(examples=["payout.delivered"])]
    sequence: Annotated[int, Field(description="Of this payout's events, from 1")]
    previous_status: PayoutStatus | None
    status: PayoutStatus
    occurred_at: Annotated[Moment | None, Field(description="By the gateway's clock, where it told")]
    created_at: Moment


class EventsQuery(PageQuery):
    """Which of a payout's events are wanted."""


@operation(
    "GET",
    "/v1/payouts/{payout_id}/events",
    scope=Scope.PAYOUTS_READ,
    tag="payouts",
    summary="List a payout's events",
    refusals=("unknown_payout",),
)
def list_payout_events(call: Call, payout_id: str, query: EventsQuery) -> Page[PayoutEventShown]:
    """Oldest first, as they were sent."""
    payout = find(call, payout_id)
    wanted = select(PayoutEvent).where(PayoutEvent.payout_id == payout.id)
    if query.after:
        behind = select(PayoutEvent.sequence).where(PayoutEvent.payout_id == payout.id, PayoutEvent.id == query.after)
        wanted = wanted.where(col(PayoutEvent.sequence) > behind.scalar_subquery())
    found = call.session.exec(wanted.order_by(col(PayoutEvent.sequence)).limit(query.limit + 1)).all()
    has_more, shown = len(found) > query.limit, [_event(event) for event in found[: query.limit]]
    return Page(data=shown, has_more=has_more, next_cursor=shown[-1].id if has_more else None)


def _event(event: PayoutEvent) -> PayoutEventShown:
    return PayoutEventShown(
        id=event.id,
        type=f"payout.{event.status}",
        sequence=event.sequence,
        previous_status=PayoutStatus(event.previous_status) if event.previous_status else None,
        status=PayoutStatus(event.status),
        occurred_at=event.occurred_at,
        created_at=event.created_at,
    )


def find(call: Call, payout_id: str) -> Payout:
    """Return the caller's payout. Another organisation's, or one of the other mode, is as unknown as no payout."""
    wanted = select(Payout).where(
        Payout.id == payout_id,
        Payout.organisation_id == call.caller.organisation_id,
        Payout.test_mode == call.caller.test_mode,
    )
    payout = call.session.exec(wanted.execution_options(populate_existing=True)).one_or_none()
    if payout is None:
        raise Refusal("unknown_payout", "there is none of this id that this key may see")
    return payout


OPERATIONS: Final[list[Operation]] = [list_payouts, get_payout, cancel_payout, list_payout_events]
