"""Histories for tests of mending: events, and deliveries that came to whatever end."""

from datetime import UTC, datetime

from sqlalchemy import text
from sqlmodel import col, select

from models.database import transaction
from models.endpoint import Endpoint
from models.lifecycle import PayoutStatus
from models.outbox import Attempt, Delivery
from models.payout import Payout
from tests.factories import a_payout, say

STEPS = (PayoutStatus.INITIATED, PayoutStatus.BROADCAST, PayoutStatus.DELIVERED)


def a_history(*statuses: PayoutStatus, organisation: str = "Acme", test_mode: bool = False) -> Payout:
    """Return a payout that has advanced through these, one event each, after its birth as pending."""
    payout = a_payout(organisation=organisation, test_mode=test_mode)
    with transaction() as session:  # it was born before the factory gave it its mode
        born = text("UPDATE payout_event SET test_mode = :mode WHERE payout_id = :id")
        session.connection().execute(born, {"mode": test_mode, "id": payout.id})
    for status in statuses:
        say(payout, status)
    return payout


def close(state: str, *, endpoint: Endpoint | None = None, sequence: int | None = None) -> list[str]:
    """Bring open deliveries to an end; return their ids."""
    wanted = text(
        "UPDATE delivery SET state = :state, closed_at = now(), attempts = 1 WHERE state = 'open'"
        " AND (CAST(:endpoint AS text) IS NULL OR endpoint_id = :endpoint)"
        " AND (CAST(:sequence AS int) IS NULL OR sequence = :sequence) RETURNING id"
    )
    asked = {"state": state, "endpoint": endpoint and endpoint.id, "sequence": sequence}
    with transaction() as session:
        return [row[0] for row in session.connection().execute(wanted, asked)]


def deliveries(endpoint: Endpoint) -> list[Delivery]:
    """Return what is and was owed to an endpoint, oldest first."""
    with transaction() as session:
        owed = select(Delivery).where(Delivery.endpoint_id == endpoint.id)
        return list(session.exec(owed.order_by(col(Delivery.created_at), col(Delivery.sequence))))


def an_attempt(delivery_id: str, *, status_code: int = 500, answer: bytes = b"oh no", number: int = 1) -> None:
    """Put a failed attempt on record."""
    attempt = Attempt(
        delivery_id=delivery_id,
        number=number,
        started_at=datetime.now(UTC),
        duration_ms=12,
        outcome="refused",
        status_code=status_code,
        answer=answer,
        error=f"answered {status_code}",
    )
    with transaction() as session:
        session.add(attempt)
