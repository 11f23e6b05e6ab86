"""Events about endpoints, not about payouts. They take the way that payout events take: owed, signed, retried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlmodel import Session, col, select

from models.endpoint import Endpoint
from models.notice import DISABLED, PING, Notice
from models.outbox import Delivery
from payouts.payload import rfc3339
from payouts.refused import Refused


@dataclass(frozen=True, slots=True)
class Told:
    """A notice, and what its edge enqueues after the commit."""

    id: str
    deliveries: list[str]


def ping(session: Session, endpoint: Endpoint, now: datetime) -> Told:
    """Owe an endpoint one `endpoint.ping`, whatever types it subscribes to. Raises `Refused`."""
    if not endpoint.is_enabled:
        raise Refused("endpoint_disabled", "a disabled endpoint is sent nothing; enable it first")
    return _tell(session, endpoint, PING, {}, [endpoint.id], now)


def tell_of_disabled(session: Session, endpoint: Endpoint, now: datetime) -> Told:
    """Owe the other endpoints of its organisation and mode the news that we have switched this one off.

    Whatever types they subscribe to: it is about the channel itself, and otherwise nobody might hear.
    """
    others = select(Endpoint.id).where(
        Endpoint.organisation_id == endpoint.organisation_id,
        Endpoint.test_mode == endpoint.test_mode,
        Endpoint.id != endpoint.id,
        col(Endpoint.is_enabled),
    )
    facts = {
        "reason": endpoint.disabled_reason,
        "disabled_at": rfc3339(endpoint.disabled_at),
        "failing_since": rfc3339(endpoint.failing_since),
    }
    return _tell(session, endpoint, DISABLED, facts, session.exec(others).all(), now)


def _tell(
    session: Session, about: Endpoint, type_: str, facts: Mapping[str, Any], hearers: Sequence[str], now: datetime
) -> Told:
    body = {
        "type": type_,
        "timestamp": rfc3339(now),
        "data": {"id": about.id, "description": about.description, "test_mode": about.test_mode, **facts},
    }
    notice = Notice(
        organisation_id=about.organisation_id,
        endpoint_id=about.id,
        type=type_,
        test_mode=about.test_mode,
        created_at=now,
        payload=orjson.dumps(body).decode(),
    )
    session.add(notice)
    owed = [
        Delivery(endpoint_id=hearer, event_id=notice.id, sequence=1, created_at=now, next_attempt_at=now)
        for hearer in hearers
    ]
    session.add_all(owed)
    session.flush()
    return Told(notice.id, [delivery.id for delivery in owed])
