"""The internal caller's payouts: one for each attempt at a transaction of theirs, however often they ask."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlmodel import Session, col, select

from models.integration import Integration
from models.internal_request import InternalRequest
from models.money import to_text
from models.organisation import Organisation
from models.sealed import seal, unseal
from payouts.create import Created, NewPayout, Refused, create
from payouts.said_no import could_still_pay

ACTOR: Final = "internal"
ORGANISATION: Final = "internal"
"""Whose the payouts are when the caller names no organisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalOrder:
    """What the internal caller asks for. Its fields are valid already; nothing is known of the gateway yet."""

    gateway: str
    """An integration's slug, or a gateway's name where one integration of it is active."""
    tx_id: str
    attempt: int
    amount_minor: int
    currency: str
    organisation: str = ORGANISATION
    description: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def order_key(self) -> str:
        """Our key at the gateway: another attempt is another order, the same attempt never is."""
        return f"{self.tx_id}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class Answered:
    """What the caller is told, and what was made for it: None when the answer is an earlier one."""

    body: str = field(repr=False)
    created: Created | None


def create_once(session: Session, order: InternalOrder, now: datetime, request_id: str | None = None) -> Answered:
    """Create the payout of this attempt, or answer as before. Raises `Refused`.

    Another attempt is refused while any other one could still pay: the transaction would be paid twice.
    """
    session.connection().execute(_ONE_AT_A_TIME, {"tx_id": order.tx_id})
    others = select(InternalRequest).where(InternalRequest.tx_id == order.tx_id)
    known = {request.attempt: request for request in session.exec(others)}
    asked = asdict(order)
    if earlier := known.get(order.attempt):
        if unseal(earlier.asked) != asked:
            raise Refused("idempotency_conflict", f"attempt {order.attempt} of {order.tx_id} asked for something else")
        return Answered(earlier.answer, None)
    _check_other_attempts(session, known)
    integration = _integration(session, order.gateway)
    _make_sure_of(session, order.organisation, now)
    created = create(session, _new(order, integration), now, actor=ACTOR, request_id=request_id)
    answer = _answer(order, integration, created)
    session.add(
        InternalRequest(
            tx_id=order.tx_id,
            attempt=order.attempt,
            payout_id=created.id,
            asked=seal(asked),
            answer=answer,
            created_at=now,
        )
    )
    return Answered(answer, created)


def _check_other_attempts(session: Session, known: Mapping[int, InternalRequest]) -> None:
    """Whatever their numbers: one that arrives late must not pay what a later one has paid already."""
    attempts = {request.payout_id: attempt for attempt, request in known.items()}
    if still_open := could_still_pay(session, list(attempts)):
        payout_id = max(still_open, key=lambda each: attempts[each])
        detail = f"attempt {attempts[payout_id]} is {payout_id}, which could still pay; wait for its end or cancel it"
        raise Refused("previous_attempt_open", detail)


def _integration(session: Session, gateway: str) -> Integration:
    named = (Integration.slug == gateway) | (Integration.connector == gateway)
    found = session.exec(select(Integration).where(named).order_by(col(Integration.slug))).all()
    if by_slug := [each for each in found if each.slug == gateway]:
        return by_slug[0]
    active = [each for each in found if each.is_active]
    if not active:
        raise Refused("integration_inactive", f"no integration of {gateway!r} is active; `ratchet gateways list`")
    if len(active) > 1:
        raise Refused(
            "integration_ambiguous", f"{gateway} has several: say which of {', '.join(each.slug for each in active)}"
        )
    return active[0]


def _make_sure_of(session: Session, organisation: str, now: datetime) -> None:
    """Let the caller's own organisation exist. Any other has to be there already."""
    if organisation == ORGANISATION:
        row = {"id": Organisation(name=organisation, created_at=now).id, "name": organisation, "now": now}
        session.connection().execute(_ORGANISATION, row)


def _new(order: InternalOrder, integration: Integration) -> NewPayout:
    return NewPayout(
        integration=integration.slug,
        organisation=order.organisation,
        order_key=order.order_key,
        amount_minor=order.amount_minor,
        currency=order.currency,
        description=order.description,
        details=order.details,
        test_mode=integration.test_mode,
    )


def _answer(order: InternalOrder, integration: Integration, created: Created) -> str:
    """Return the answer, once and for all. Of the details only the names: they say whom the money goes to."""
    payload = {
        "integration": integration.slug,
        "order_key": order.order_key,
        "amount": to_text(order.amount_minor, order.currency),
        "currency": order.currency,
        "description": order.description,
        "details": sorted(order.details),
    }
    return orjson.dumps({"payout_reference": created.id, "status": "pending", "gateway_payload": payload}).decode()


_ONE_AT_A_TIME: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('internal request ' || :tx_id, 0))")
"""All attempts at one transaction: of twins the second finds the first one's answer."""

_ORGANISATION: Final = text(
    "INSERT INTO organisation (id, name, created_at) VALUES (:id, :name, :now) ON CONFLICT (name) DO NOTHING"
)
