"""What a visitor sees: their endpoints, their deliveries, and everything about one of either."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import Response

from models.database import transaction
from models.endpoint import Endpoint
from models.outbox import DeliveryState
from payouts import endpoints as rules
from payouts.endpoint_choices import EVENT_TYPES
from payouts.endpoints import header_names, host
from payouts.events import find_event
from payouts.owed import DeliveryFilters, Owed, find_delivery, list_deliveries
from payouts.pages import Stretch
from payouts.portal import Visit
from payouts.recover import list_recoveries, progress
from payouts.reproduce import reproduced
from receiver.partners.portal.door import page

MOST_SHOWN: Final = 25
MOST_RECOVERIES: Final = 3
FRESH: Final = timedelta(seconds=20)
"""A page about what has just been sent looks again by itself for so long."""
FILTERS: Final = ("state", "endpoint", "type")


def home(request: Request, visit: Visit) -> Response:
    """Show the endpoints and the newest deliveries."""
    asked = {name: value for name in FILTERS if (value := request.query_params.get(name))}
    with transaction() as session:
        endpoints = rules.list_endpoints(session, visit.sight, Stretch("ep", limit=rules.MOST_ENDPOINTS))
        found, older = _deliveries(session, visit, asked, request.query_params.get("after"))
    return page(
        request,
        "home.html",
        visit,
        endpoints=endpoints,
        hosts={endpoint.id: host(endpoint) for endpoint in endpoints},
        deliveries=found,
        older=older,
        asked=asked,
        is_first=not request.query_params.get("after"),
        choices={"state": list(DeliveryState), "type": [*EVENT_TYPES, "endpoint.ping", "endpoint.disabled"]},
    )


def endpoint(request: Request, visit: Visit) -> Response:
    """Show one endpoint, how it fares, and what it was sent."""
    with transaction() as session:
        return endpoint_page(request, visit, session, find_endpoint(session, visit, request))


def endpoint_page(request: Request, visit: Visit, session: Session, found: Endpoint, **more: Any) -> Response:
    """Render one endpoint. `more` may hold a `secret` that is shown this once."""
    deliveries, older = _deliveries(session, visit, {"endpoint": found.id}, None)
    recoveries = list_recoveries(session, visit.sight, Stretch("rcv", limit=100))
    mine = [(each, progress(each)) for each in recoveries if each.endpoint_id == found.id][:MOST_RECOVERIES]
    return page(
        request,
        "endpoint.html",
        visit,
        endpoint=found,
        header_names=header_names(found),
        deliveries=deliveries,
        older=older,
        recoveries=mine,
        **{"secret": None, "old_until": None, **more},
    )


def delivery(request: Request, visit: Visit) -> Response:
    """Show one delivery with its attempts, what was sent, and a command to reproduce it."""
    with transaction() as session:
        found = find_delivery(session, visit.sight, request.path_params["delivery_id"])
        owner = rules.list_endpoints(session, visit.sight, Stretch("ep", limit=rules.MOST_ENDPOINTS))
        event = find_event(session, visit.sight, found.owed.event_id)
    is_awaited = found.owed.state is DeliveryState.OPEN and datetime.now(UTC) - found.owed.created_at < FRESH
    return page(
        request,
        "delivery.html",
        visit,
        found=found,
        owed=found.owed,
        endpoint=next((each for each in owner if each.id == found.owed.endpoint_id), None),
        body=json.dumps(event.body, indent=2, ensure_ascii=False) if event.body else None,
        curl=reproduced(found),
        looks_again=is_awaited and not found.tried,
    )


def find_endpoint(session: Session, visit: Visit, request: Request, *, for_change: bool = False) -> Endpoint:
    """Return the visitor's endpoint that the path names. Raises `Refused`."""
    return rules.find(
        session,
        request.path_params["endpoint_id"],
        organisation_id=visit.organisation_id,
        test_mode=visit.test_mode,
        for_change=for_change,
    )


def _deliveries(
    session: Session, visit: Visit, asked: Mapping[str, str], after: str | None
) -> tuple[list[Owed], str | None]:
    """Return a page of deliveries, and where the next one starts, or None. What is misspelt filters nothing."""
    state = asked.get("state")
    filters = DeliveryFilters(
        state=DeliveryState(state) if state in list(DeliveryState) else None,
        endpoint_id=asked.get("endpoint"),
        event_type=asked.get("type"),
    )
    found = list_deliveries(session, visit.sight, filters, Stretch("dlv", after=after, limit=MOST_SHOWN + 1))
    return found[:MOST_SHOWN], found[MOST_SHOWN - 1].id if len(found) > MOST_SHOWN else None
