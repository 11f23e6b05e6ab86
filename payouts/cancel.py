"""Call a payout off: at once while it has not left, and by asking its gateway where that can still stop it.

Between a cancellation and a submission that begin together the payout's row decides: whoever locks it first. What is
`sending` or `unknown` can be neither stopped nor given up: nobody knows yet whether the gateway has it.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlmodel import Session

from connectors._base import PayoutUpdate
from models.audit import record
from models.lifecycle import PayoutStatus
from models.payout import Source, SubmissionState
from payouts.integrations import Connected, Unusable, connected
from payouts.observe import Evidence, Observed, observe
from payouts.refused import Refused
from payouts.standing import Standing, lock, write

CANCELABLE: Final = frozenset({PayoutStatus.PENDING, PayoutStatus.SCHEDULED})


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants it called off: `Source.OPERATOR` or `Source.PARTNER`, and how the audit trail names them."""

    source: Source
    actor: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayCall:
    """What is still to be asked of a gateway, outside any transaction."""

    payout_id: str
    integration: Connected = field(repr=False)
    reference: str
    wish: Wish
    is_canceled: bool
    """It is called off already: whatever the gateway says, nothing will be started there."""


@dataclass(frozen=True, slots=True)
class CalledOff:
    """What a first step has done, and what remains to be done at the gateway."""

    observed: Observed
    remains: GatewayCall | None = None


def call_off(session: Session, payout_id: str, wish: Wish, now: datetime) -> CalledOff:
    """Cancel a payout that has not left, or return the call that may stop it at its gateway. Raises `Refused`."""
    standings = lock(session, [payout_id])
    if not standings:
        raise Refused("unknown_payout", f"no payout {payout_id!r}")
    (standing,) = standings
    if standing.status is PayoutStatus.CANCELED:
        return CalledOff(Observed())  # it is what was wished for
    if standing.status not in CANCELABLE:
        raise Refused("not_cancelable", f"it is {standing.status}: only pending and scheduled ones are called off")
    if standing.submission == SubmissionState.UNSENT:
        return _before_it_left(session, standing, wish, now)
    return CalledOff(Observed(), _at_the_gateway(session, standing, wish, now))


def conclude_cancel(session: Session, call: GatewayCall, update: PayoutUpdate, now: datetime) -> Observed:
    """Take the gateway's answer as its word; it may also say that it is too late."""
    (standing,) = lock(session, [call.payout_id])
    told = replace(update, reference=call.reference, order_key=standing.order_key)
    if told.status is PayoutStatus.CANCELED and standing.status in CANCELABLE:
        _record(session, standing, "payout.canceled", call.wish, now, status=PayoutStatus.CANCELED)
    return observe(session, [Evidence(call.integration.id, told, Source.SUBMISSION)], now)


def ask_soon(session: Session, call: GatewayCall, now: datetime) -> None:
    """The gateway's answer was lost, or was a no: let the next poll tell how the payout really stands."""
    (standing,) = lock(session, [call.payout_id])
    if standing.next_poll_at is not None:
        standing.next_poll_at = now
        write(session, [standing])


def _before_it_left(session: Session, standing: Standing, wish: Wish, now: datetime) -> CalledOff:
    said = PayoutUpdate(
        reference=None,
        order_key=standing.order_key,
        status=PayoutStatus.CANCELED,
        said="called off before it left",
        occurred_at=now,
    )
    _record(session, standing, "payout.canceled", wish, now, status=PayoutStatus.CANCELED)
    observed = observe(session, [Evidence(standing.integration_id, said, wish.source)], now)
    (standing,) = lock(session, [standing.id])
    if standing.gateway_reference is None:
        standing.next_poll_at = None  # the gateway has never heard of it
        standing.poll_failure = None
        write(session, [standing])
        return CalledOff(observed)
    return CalledOff(observed, _tidy_up(session, standing, wish))


def _tidy_up(session: Session, standing: Standing, wish: Wish) -> GatewayCall | None:
    """An earlier submission has left it there, created and not started: it stays so unless somebody takes it away."""
    try:
        integration = _integration(session, standing)
    except Refused:
        return None  # it cannot be asked; nothing will start it there
    if not integration.connector.SUPPORTS_CANCEL or standing.gateway_reference is None:
        return None
    return GatewayCall(standing.id, integration, standing.gateway_reference, wish, is_canceled=True)


def _at_the_gateway(session: Session, standing: Standing, wish: Wish, now: datetime) -> GatewayCall:
    if standing.submission != SubmissionState.ACCEPTED:
        raise Refused("not_cancelable", f"its hand-over is {standing.submission}: nobody knows yet what became of it")
    integration = _integration(session, standing)
    if not integration.connector.SUPPORTS_CANCEL or standing.gateway_reference is None:
        raise Refused("not_cancelable", f"{integration.connector.name} has it already, and cannot call payouts off")
    _record(session, standing, "payout.cancel_asked", wish, now)
    return GatewayCall(standing.id, integration, standing.gateway_reference, wish, is_canceled=False)


def _integration(session: Session, standing: Standing) -> Connected:
    try:
        return connected(session, [standing.integration_id])[standing.integration_id]
    except Unusable as error:
        raise Refused("gateway_unavailable", f"its integration cannot be opened: {error}") from None


def _record(session: Session, standing: Standing, action: str, wish: Wish, now: datetime, **after: Any) -> None:
    record(
        session,
        actor=wish.actor,
        action=action,
        entity=standing.id,
        before={"status": standing.status, "submission": standing.submission},
        after=after or None,
        request_id=wish.request_id,
        now=now,
    )
