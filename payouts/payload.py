"""A payout as its partner reads it: in every outbound webhook and in every answer of the API, the same."""

from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import Row

from connectors._base import COSTS
from models.lifecycle import PayoutStatus
from models.money import to_text
from models.payout import Payout
from payouts.estimate import expected_at
from payouts.standing import Standing
from settings import settings

_FELL_THROUGH: Final = frozenset({PayoutStatus.CANCELED, PayoutStatus.FAILED, PayoutStatus.RETURNED})


def rfc3339(moment: datetime | None) -> str | None:
    """Return a time in UTC as partners read it, or None."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


def event_payload(standing: Standing, previous: PayoutStatus | None, now: datetime) -> str:
    """Return the JSON body for the change that `standing` has just made."""
    data = as_shown(standing)
    data["previous_status"], data["sequence"] = previous, standing.sequence
    body = {"type": f"payout.{standing.status}", "timestamp": _in_utc(standing.occurred_at or now), "data": data}
    return orjson.dumps(body, rfc3339, orjson.OPT_UTC_Z).decode()


def as_shown(payout: Payout | Standing) -> dict[str, Any]:
    """Return a payout as JSON values, but for its times: those are in UTC, and whoever writes them writes RFC 3339."""
    currency, processed, costs = payout.currency, payout.processed_amount_minor, payout.costs
    return {
        "id": payout.id,
        "reference": payout.partner_reference or (payout.order_key if payout.order_key != payout.id else None),
        "status": payout.status,
        "amount": to_text(payout.amount_minor, currency),
        "currency": currency,
        "processed_amount": None if processed is None else to_text(processed, currency),
        "costs": {name: to_text(costs[name], currency) if name in costs else None for name in COSTS} if costs else None,
        "mode": payout.mode,
        "scheduled_at": _in_utc(payout.scheduled_at),
        "estimated_delivery_at": _in_utc(expected_at(payout)),
        "tracking_url": f"{settings().public_url}/track/{payout.tracking_token}",
        "failure": failure(payout),
        "metadata": payout.partner_metadata or {},
        "test_mode": payout.test_mode,
        "created_at": _in_utc(payout.created_at),
    }


def failure(payout: Payout | Standing | Row[Any]) -> dict[str, str | None] | None:
    """Return why a payout fell through. What once went wrong with one that is under way or has arrived is not told."""
    if payout.status not in _FELL_THROUGH or payout.failure_code is None:
        return None
    return {"code": payout.failure_code, "message": payout.failure_message}


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
