"""POST /v1/payouts: a direct payout, one of a quote, one of a balance."""

from typing import Final

from models.api_key import Scope
from models.balance import Balance
from models.money import InvalidAmount, to_minor
from models.organisation import Organisation
from payouts.balances import BalancePayout, create_balance_payout
from payouts.create import Created
from payouts.direct import DirectPayout, create_direct
from payouts.quotes import Use, use_quote
from receiver.partners.balances import find as find_balance
from receiver.partners.new_payout import (
    BY_TELEPHONE,
    OF_A_BALANCE,
    OF_A_QUOTE,
    NewBalancePayout,
    NewDirectPayout,
    NewPayout,
    QuotedPayout,
)
from receiver.partners.operation import Call, Operation, operation
from receiver.partners.payout_shown import PayoutShown, show, show_new
from receiver.partners.payouts import find
from receiver.partners.refusals import Refusal
from workers.apply import send_apply
from workers.soon import deliver_soon, submit_soon

OF_QUOTES: Final = ("quote_unknown", "quote_foreign", "quote_expired", "quote_already_used")
OF_BALANCES: Final = (
    "insufficient_funds",
    "unknown_balance",
    "balance_missing",
    "balance_inactive",
    "balance_below_threshold",
    "payouts_blocked",
    "refunds_queued",
    "already_scheduled",
    "destination_missing",
    "destination_invalid",
    "integration_inactive",
    "mode_differs",
)


@operation(
    "POST",
    "/v1/payouts",
    scope=Scope.PAYOUTS_WRITE,
    tag="payouts",
    summary="Create a payout",
    status=201,
    refusals=(
        "missing_detail",
        "unknown_gateway",
        "no_gateway",
        "payouts_disabled",
        "payouts_unsupported",
        "webhook_secret_missing",
        "currency_unsupported",
        *OF_QUOTES,
        *OF_BALANCES,
    ),
    examples={"mobile money": BY_TELEPHONE, "a quote": OF_A_QUOTE, "a balance": OF_A_BALANCE},
)
def create_payout(call: Call, body: NewPayout) -> PayoutShown:
    """Put a payout on record and hand it over to its gateway, at once or when it is scheduled.

    Send exactly one of: a direct payout (amount, currency, customer, mode), a `quote_id`, or a `balance_id`.
    Send an `Idempotency-Key`: a request that timed out can then be sent again, and moves money once.
    """
    asked = body.root
    if isinstance(asked, QuotedPayout):
        return answer(call, _of_a_quote(call, asked))
    if isinstance(asked, NewBalancePayout):
        return answer(call, _of_a_balance(call, asked))
    return answer(call, _direct(call, asked))


def _direct(call: Call, body: NewDirectPayout) -> Created:
    asked = DirectPayout(
        organisation=call.caller.organisation,
        organisation_id=call.caller.organisation_id,
        test_mode=call.caller.test_mode,
        amount_minor=to_minor(body.amount, body.currency),
        currency=body.currency,
        wish=body.wish(),
        gateway=body.gateway,
        scheduled_at=body.scheduled_at,
        description=body.description,
        reference=body.reference,
        metadata=body.metadata,
    )
    return create_direct(call.session, asked, call.now, actor=call.actor, request_id=call.request_id)


def _of_a_quote(call: Call, body: QuotedPayout) -> Created:
    use = Use(
        quote_id=body.quote_id,
        organisation=call.session.get_one(Organisation, call.caller.organisation_id),
        test_mode=call.caller.test_mode,
        description=body.description,
        reference=body.reference,
        metadata=body.metadata,
    )
    return use_quote(call.session, use, call.now, actor=call.actor, request_id=call.request_id)


def _of_a_balance(call: Call, body: NewBalancePayout) -> Created:
    balance = find_balance(call, body.balance_id)  # before anything is locked: strangers must not wait for it
    asked = BalancePayout(
        organisation_id=call.caller.organisation_id,
        test_mode=call.caller.test_mode,
        balance_id=balance.id,
        amount_minor=None if body.amount is None else _in_its_currency(balance, body.amount),
        description=body.description,
        reference=body.reference,
        metadata=body.metadata,
    )
    return create_balance_payout(call.session, asked, call.now, actor=call.actor, request_id=call.request_id)


def _in_its_currency(balance: Balance, amount: str) -> int:
    try:
        if amount_minor := to_minor(amount, balance.currency):
            return amount_minor
        fault = "Must be more than nothing"
    except InvalidAmount as error:
        fault = f"{error}".capitalize()
    raise Refusal("invalid_request", errors=[{"pointer": "#/amount", "detail": fault}])


def answer(call: Call, created: Created) -> PayoutShown:
    """Show what was created, remember it for idempotency, and have its submission and its deliveries follow."""
    call.payout_id = created.id
    call.headers["location"] = f"/v1/payouts/{created.id}"
    call.then(lambda: _enqueue(created))
    if created.standing and not created.is_of_a_quote:
        return show_new(created.standing, created.steps)
    return show(call.session, [find(call, created.id)])[0]


def _enqueue(created: Created) -> None:
    if created.is_due:
        submit_soon(created.id)
    deliver_soon(created.deliveries)
    send_apply(created.released)


OPERATIONS: Final[list[Operation]] = [create_payout]
