"""One Dramatiq task per event and per delivery, with Dramatiq's own broker as it comes."""

import time
from datetime import UTC, datetime
from typing import Final, cast

import dramatiq
import requests
from dramatiq.brokers.redis import RedisBroker
from sqlmodel import Session, col, select

from benchmarks.naive.event import NaiveEvent
from connectors import connector_class
from connectors._base import Account, PayoutUpdate
from models.database import transaction
from models.endpoint import SYMMETRIC, Endpoint
from models.inbox import InboxState
from models.integration import Integration
from models.lifecycle import IN_FLIGHT, PayoutStatus, join
from models.outbox import Attempt, Delivery, DeliveryState
from models.payout import Observation, Payout, PayoutEvent, SubmissionState
from payouts.payload import event_payload
from payouts.polling import next_poll_at
from payouts.signing import signature
from payouts.standing import Standing
from settings import settings

THREADS: Final = 8
"""Dramatiq's default for one process."""

broker: Final = RedisBroker(url=settings().redis_url)  # type: ignore[no-untyped-call]


@dramatiq.actor(broker=broker, queue_name="naive-apply")
def apply_event(event_id: int) -> None:
    """Apply one inbox event in one transaction, then send a task for each delivery."""
    with transaction() as session:
        event = session.exec(select(NaiveEvent).where(col(NaiveEvent.id) == event_id).with_for_update()).one()
        owed = _apply(session, event, datetime.now(UTC)) if event.state == InboxState.NEW else []
    for delivery_id in owed:
        deliver.send(delivery_id)


def _apply(session: Session, event: NaiveEvent, now: datetime) -> list[str]:
    integration = session.exec(select(Integration).where(col(Integration.id) == event.integration_id)).one()
    (update,) = connector_class(integration.connector)(Account()).parse(event.body)
    payout = session.exec(
        select(Payout)
        .where(col(Payout.integration_id) == event.integration_id, col(Payout.gateway_reference) == update.reference)
        .with_for_update()
    ).one()
    previous, joined = (
        PayoutStatus(payout.status),
        join(PayoutStatus(payout.status), update.status or PayoutStatus.PENDING),
    )
    session.add(_observation(payout, event, update, now, advanced=joined is not previous))
    payout.submission = SubmissionState.ACCEPTED
    payout.last_evidence_at, payout.last_evidence_source = now, "webhook"
    event.state, event.applied_at = InboxState.APPLIED, now
    return [] if joined is previous else _advance(session, payout, update, joined, now)


def _observation(
    payout: Payout, event: NaiveEvent, update: PayoutUpdate, now: datetime, *, advanced: bool
) -> Observation:
    return Observation(
        payout_id=payout.id,
        epoch=payout.epoch,
        source="webhook",
        inbox_event_id=event.id,
        said=update.said,
        status=update.status,
        effect="advanced" if advanced else "stale",
        occurred_at=update.occurred_at,
        recorded_at=now,
    )


def _advance(session: Session, payout: Payout, update: PayoutUpdate, joined: PayoutStatus, now: datetime) -> list[str]:
    previous = PayoutStatus(payout.status)
    payout.status, payout.sequence = joined, payout.sequence + 1
    payout.advanced_at, payout.occurred_at = now, update.occurred_at
    payout.quiet_since = now if joined in IN_FLIGHT else None
    payout.processed_amount_minor = update.processed_amount_minor
    payout.poll_step, payout.next_poll_at = 0, next_poll_at(joined, 0, now)
    event = PayoutEvent(
        payout_id=payout.id,
        organisation_id=payout.organisation_id,
        test_mode=payout.test_mode,
        sequence=payout.sequence,
        previous_status=previous,
        status=joined,
        source="webhook",
        occurred_at=update.occurred_at,
        created_at=now,
        payload=event_payload(cast(Standing, payout), previous, now),  # it has all that a Standing has
    )
    session.add(event)
    query = select(Endpoint).where(col(Endpoint.organisation_id) == payout.organisation_id, col(Endpoint.is_enabled))
    owed = [
        Delivery(
            endpoint_id=endpoint.id,
            payout_id=payout.id,
            event_id=event.id,
            sequence=payout.sequence,
            created_at=now,
            next_attempt_at=now,
        )
        for endpoint in session.exec(query)
    ]
    session.add_all(owed)
    return [delivery.id for delivery in owed]


@dramatiq.actor(broker=broker, queue_name="naive-deliver")
def deliver(delivery_id: str) -> None:
    """Attempt one delivery and record what came back."""
    with transaction() as session:
        delivery = session.exec(select(Delivery).where(col(Delivery.id) == delivery_id)).one()
        event = session.exec(select(PayoutEvent).where(col(PayoutEvent.id) == delivery.event_id)).one()
        endpoint = session.exec(select(Endpoint).where(col(Endpoint.id) == delivery.endpoint_id)).one()
        started_at, started = datetime.now(UTC), time.monotonic()
        answer = requests.post(
            endpoint.url, (event.payload or "").encode(), headers=_headers(endpoint, event), timeout=15
        )
        delivery.attempts += 1
        session.add(
            Attempt(
                delivery_id=delivery.id,
                number=delivery.attempts,
                started_at=started_at,
                duration_ms=int((time.monotonic() - started) * 1000),
                outcome="delivered" if answer.ok else "refused",
                status_code=answer.status_code,
            )
        )
        if answer.ok:
            delivery.state, delivery.closed_at = DeliveryState.DELIVERED, datetime.now(UTC)


def _headers(endpoint: Endpoint, event: PayoutEvent) -> dict[str, str]:
    timestamp = int(time.time())
    secrets = endpoint.secrets().live(datetime.now(UTC), SYMMETRIC)
    return {
        "content-type": "application/json",
        "webhook-id": event.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secrets, event.id, timestamp, (event.payload or "").encode()),
    }
