"""Call payouts off, at their gateways where they are there already. For edges: opens transactions of its own."""

from datetime import UTC, datetime

import structlog

from connectors._base import GatewayUnavailable, OutcomeUnknown, PayoutUpdate, Rejected
from models.database import transaction
from models.lifecycle import PayoutStatus
from payouts.cancel import GatewayCall, Wish, ask_soon, call_off, conclude_cancel
from payouts.refused import Refused
from workers.apply import queue_what_follows
from workers.outside import outside

_log = structlog.get_logger(__name__)


def cancel(payout_id: str, wish: Wish) -> None:
    """Call one payout off, or raise `Refused`: then it was not, or nobody knows yet. Waits for the gateway's answer.

    Call it with no transaction open.
    """
    with transaction() as session:
        called_off = call_off(session, payout_id, wish, datetime.now(UTC))
    queue_what_follows(called_off.observed)
    if called_off.remains:
        finish(called_off.remains)


def finish(call: GatewayCall) -> None:
    """Ask the gateway, and learn from what it says. Raises `Refused` unless the payout is called off."""
    asking = call.integration.connector.cancel(call.reference, outside().http)
    try:
        answer = outside().wait_for(call.integration.id, asking)
    except GatewayUnavailable as unavailable:
        detail = f"the gateway could not be asked ({unavailable}): try again"
        _not_canceled(call, "gateway_unavailable", detail)
    except (OutcomeUnknown, TimeoutError) as lost:
        _log.warning("payout.cancel_unknown", payout=call.payout_id, detail=str(lost))
        _not_canceled(call, "cancel_unconfirmed", "the gateway's answer was lost: look at the payout in a minute")
    else:
        _conclude(call, answer)


def _conclude(call: GatewayCall, answer: PayoutUpdate | Rejected) -> None:
    if isinstance(answer, Rejected):
        _not_canceled(call, "not_cancelable", f"its gateway does not call it off any more: {answer.code}")
        return
    if answer.reference not in (None, call.reference):
        _not_canceled(call, "cancel_unconfirmed", "the gateway answered about another payout: look in a minute")
        return
    with transaction() as session:
        observed = conclude_cancel(session, call, answer, datetime.now(UTC))
    queue_what_follows(observed)
    if answer.status is not PayoutStatus.CANCELED:
        _not_canceled(call, "not_cancelable", f"its gateway says {answer.status or answer.said}")


def _not_canceled(call: GatewayCall, code: str, detail: str) -> None:
    """Have it polled soon, and say no; unless it was called off before, and only tidying up has failed."""
    with transaction() as session:
        ask_soon(session, call, datetime.now(UTC))
    if not call.is_canceled:
        raise Refused(code, detail)
