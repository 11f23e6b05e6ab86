"""/v1/payouts: what a partner sees of its payouts."""

from typing import Final

from sqlmodel import col, select

from models.api_key import Scope
from models.lifecycle import PayoutStatus
from models.money import to_text
from models.payout import Payout
from receiver.partners.operation import Call, Operation, operation
from receiver.partners.refusals import Refusal
from receiver.partners.shapes import Moment, Page, PageQuery, Shown


class Failure(Shown):
    """Why it did not arrive."""

    code: str
    message: str | None


class PayoutShown(Shown):
    """A payout."""

    id: str
    reference: str
    status: PayoutStatus
    amount: str
    currency: str
    processed_amount: str | None
    estimated_delivery_at: Moment | None
    failure: Failure | None
    test_mode: bool
    created_at: Moment


def shown(payout: Payout) -> PayoutShown:
    """Return a payout as its partner reads it."""
    processed = payout.processed_amount_minor
    return PayoutShown(
        id=payout.id,
        reference=payout.order_key,
        status=PayoutStatus(payout.status),
        amount=to_text(payout.amount_minor, payout.currency),
        currency=payout.currency,
        processed_amount=None if processed is None else to_text(processed, payout.currency),
        estimated_delivery_at=payout.estimated_delivery_at,
        failure=Failure(code=payout.failure_code, message=payout.failure_message) if payout.failure_code else None,
        test_mode=payout.test_mode,
        created_at=payout.created_at,
    )


@operation(
    "GET",
    "/v1/payouts",
    scope=Scope.PAYOUTS_READ,
    tag="payouts",
    summary="List payouts",
)
def list_payouts(call: Call, query: PageQuery) -> Page[PayoutShown]:
    """Newest first."""
    wanted = select(Payout).where(
        Payout.organisation_id == call.caller.organisation_id, Payout.test_mode == call.caller.test_mode
    )
    if query.after:
        wanted = wanted.where(col(Payout.id) < query.after)
    found = call.session.exec(wanted.order_by(col(Payout.id).desc()).limit(query.limit + 1)).all()
    return page([shown(payout) for payout in found], query.limit)


def page(found: list[PayoutShown], limit: int) -> Page[PayoutShown]:
    """Return the first `limit` of what was found, and where to read on if there is more."""
    has_more = len(found) > limit
    return Page(data=found[:limit], has_more=has_more, next_cursor=found[limit - 1].id if has_more else None)


@operation(
    "GET",
    "/v1/payouts/{payout_id}",
    scope=Scope.PAYOUTS_READ,
    tag="payouts",
    summary="Get a payout",
    refusals=("unknown_payout",),
)
def get_payout(call: Call, payout_id: str) -> PayoutShown:
    """Where it stands."""
    return shown(find(call, payout_id))


def find(call: Call, payout_id: str) -> Payout:
    """Return the caller's payout. Another organisation's, or one of the other mode, is as unknown as no payout."""
    wanted = select(Payout).where(
        Payout.id == payout_id,
        Payout.organisation_id == call.caller.organisation_id,
        Payout.test_mode == call.caller.test_mode,
    )
    payout = call.session.exec(wanted).one_or_none()
    if payout is None:
        raise Refusal("unknown_payout", "there is none of this id that this key may see")
    return payout


OPERATIONS: Final[list[Operation]] = [list_payouts, get_payout]
