"""Hand a payout over to its gateway, once. A lost answer is an unknown outcome: it is asked about, not retried.

`begin` commits `sending` before the request leaves; a crash afterwards leaves `sending`, which counts as unknown. Call
it when the request is the next thing to happen: the gateway's visibility window runs from there, and what left after
its end might be paid twice. Where the gateway wants something prepared first, what was prepared is committed with it:
after a crash it is the only thread that leads to the payout.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog
from sqlmodel import Session, col, select

from connectors._base import Accepted, Memento, Order, OutcomeUnknown, PayoutUpdate, Rejected, Submission
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source, SubmissionState
from models.sealed import seal, unseal
from payouts.integrations import Connected, Unusable, connected
from payouts.observe import Evidence, Observed, observe, release_unmatched
from payouts.parking import may_leave
from payouts.polling import LONGEST_FAILURE, next_poll_at
from payouts.standing import lock, write

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HandOver:
    """A payout to submit."""

    payout_id: str
    integration: Connected = field(repr=False)
    order: Order = field(repr=False)
    begun_at: datetime | None
    """Since when it is `sending`, by this process alone. None: it is unsent still, and wants to be prepared first."""


def unsent(session: Session, payout_ids: Sequence[str], leased_until: datetime | None = None) -> list[tuple[str, int]]:
    """Return those of these payouts that have not left, each with its integration.

    What was taken because it was due, and has another next poll than `leased_until` by now, was taken anew or tried
    since: whoever did that has it submitted.
    """
    waiting = select(Payout.id, Payout.integration_id).where(col(Payout.id).in_(payout_ids))
    waiting = waiting.where(Payout.submission == SubmissionState.UNSENT)
    return list(session.exec(waiting.where(Payout.next_poll_at == leased_until) if leased_until else waiting))


def begin(session: Session, payout_id: str, now: datetime, prepared: Memento | None = None) -> HandOver | None:
    """Mark an unsent payout as `sending`, with what was `prepared` for it. None when it is not ours to send.

    Where the gateway wants it prepared and it was not, nothing is marked: prepare it and begin again.
    """
    payout = session.exec(select(Payout).where(Payout.id == payout_id).with_for_update(skip_locked=True)).one_or_none()
    if payout is None or not _may_leave(payout, now):
        return None
    try:
        integration = connected(session, [payout.integration_id])[payout.integration_id]
        order = _order(payout, prepared)
    except Unusable as error:
        _log.error("payout.not_begun", payout=payout.id, error=str(error))
        _put_off(payout, f"unusable: {error}", now)
        return None
    if not (integration.is_active and integration.payouts_enabled):
        return None  # switched off since it was created: it stays unsent, and due
    if not may_leave(session, payout, now):
        return None
    if prepared is None and integration.connector.PREPARES:
        return HandOver(payout.id, integration, order, None)
    payout.submission, payout.submitted_at = SubmissionState.SENDING, now
    payout.next_poll_at = next_poll_at(PayoutStatus.PENDING, 0, now)
    payout.memento = seal(dict(prepared)) if prepared else None
    session.flush()  # a conclusion may follow in this transaction, and reads the row
    return HandOver(payout.id, integration, order, now)


def _may_leave(payout: Payout, now: datetime) -> bool:
    is_waiting = payout.status == PayoutStatus.SCHEDULED and payout.scheduled_at is not None
    is_due = payout.scheduled_at is None or payout.scheduled_at <= now
    return (
        payout.submission == SubmissionState.UNSENT and is_due and (payout.status == PayoutStatus.PENDING or is_waiting)
    )


def _order(payout: Payout, prepared: Memento | None) -> Order:
    return Order(
        order_key=payout.order_key,
        amount_minor=payout.amount_minor,
        currency=payout.currency,
        description=payout.description,
        details=unseal(payout.details) if payout.details else {},
        reference=payout.gateway_reference,
        memento=prepared or {},
    )


def conclude(session: Session, hand_over: HandOver, reply: Submission, now: datetime) -> Observed:
    """Take the gateway's answer as evidence: accepted with what it says, or positively rejected, which is `failed`."""
    if isinstance(reply, Rejected) and not _is_still_ours(_locked(session, hand_over), hand_over):
        return Observed()  # it was sent again meanwhile, and the refusal of the first call is no word about the second
    if isinstance(reply, Accepted):
        update = replace(reply.update, order_key=hand_over.order.order_key)
    else:
        update = _rejection(hand_over, reply)
    observed = observe(session, [Evidence(hand_over.integration.id, update, Source.SUBMISSION)], now)
    if isinstance(reply, Rejected):
        _mark(session, hand_over.payout_id, SubmissionState.REJECTED)
    return observed


def conclude_unknown(session: Session, hand_over: HandOver, outcome: OutcomeUnknown, now: datetime) -> None:
    """The answer was lost: keep what is known and ask soon."""
    (standing,) = lock(session, [hand_over.payout_id])
    # A webhook may have been faster. What was taken for unsent while the call ran may have arrived all the same.
    is_ours = standing.submission == SubmissionState.UNSENT and standing.submitted_at == hand_over.begun_at
    if is_ours or standing.submission == SubmissionState.SENDING:
        standing.submission = SubmissionState.UNKNOWN
    standing.gateway_reference = standing.gateway_reference or outcome.reference
    if standing.next_poll_at is not None:
        standing.next_poll_at = next_poll_at(standing.status, 0, now)
    write(session, [standing])
    release_unmatched(session, [standing])  # the sweep queues them


def conclude_unsent(session: Session, hand_over: HandOver, reason: str, now: datetime) -> None:
    """It certainly never arrived: it is unsent again, and due again later."""
    payout = _locked(session, hand_over)
    if payout.submission == SubmissionState.SENDING and _is_still_ours(payout, hand_over):
        payout.submission = SubmissionState.UNSENT
        _put_off(payout, reason, now)


def _put_off(payout: Payout, reason: str, now: datetime) -> None:
    payout.poll_failures += 1
    payout.poll_failure = reason[:LONGEST_FAILURE]
    payout.poll_step += 1
    payout.next_poll_at = next_poll_at(PayoutStatus(payout.status), payout.poll_step, now)


def _locked(session: Session, hand_over: HandOver) -> Payout:
    return session.exec(select(Payout).where(Payout.id == hand_over.payout_id).with_for_update()).one()


def _is_still_ours(payout: Payout, hand_over: HandOver) -> bool:
    """Tell whether nobody has begun it anew, or may: asking can find that a payout is to be sent again."""
    return payout.submission != SubmissionState.UNSENT and payout.submitted_at == hand_over.begun_at


def _mark(session: Session, payout_id: str, state: SubmissionState) -> None:
    for payout in session.exec(select(Payout).where(col(Payout.id) == payout_id)):
        payout.submission = state


def _rejection(hand_over: HandOver, reply: Rejected) -> PayoutUpdate:
    return PayoutUpdate(
        reference=None,
        order_key=hand_over.order.order_key,
        status=PayoutStatus.FAILED,
        said="rejected",
        failure_code=reply.code,
        failure_message=reply.message,
    )
