"""A payout as its partner reads it: the body of every outbound webhook."""

from datetime import UTC, datetime
from typing import Any

import orjson

from models.lifecycle import PayoutStatus
from models.money import to_text
from payouts.standing import Standing


def rfc3339(moment: datetime | None) -> str | None:
    """Return a time in UTC as partners read it, or None."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


def event_payload(standing: Standing, previous: PayoutStatus | None, now: datetime) -> str:
    """Return the JSON body for the change that `standing` has just made."""
    body = {
        "type": f"payout.{standing.status}",
        "timestamp": rfc3339(standing.occurred_at or now),
        "data": {**_payout(standing), "previous_status": previous, "sequence": standing.sequence},
    }
    return orjson.dumps(body).decode()


def _payout(standing: Standing) -> dict[str, Any]:
    processed = standing.processed_amount_minor
    failed = standing.failure_code is not None
    return {
        "id": standing.id,
        "reference": standing.order_key,
        "status": standing.status,
        "amount": to_text(standing.amount_minor, standing.currency),
        "currency": standing.currency,
        "processed_amount": None if processed is None else to_text(processed, standing.currency),
        "estimated_delivery_at": rfc3339(standing.estimated_delivery_at),
        "failure": {"code": standing.failure_code, "message": standing.failure_message} if failed else None,
        "test_mode": standing.test_mode,
        "created_at": rfc3339(standing.created_at),
    }
