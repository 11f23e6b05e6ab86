"""/v1/events: what happened, with the very bodies that webhooks carry."""

from typing import Annotated, Any, Final

from pydantic import Field

from models.api_key import Scope
from payouts.events import Event, EventFilters, find_event
from payouts.events import list_events as find_events
from receiver.partners.operation import Call, Operation, operation
from receiver.partners.shapes import Moment, Page, Shown
from receiver.partners.sight import Name, TimedQuery, page_of, sight_of, stretch_of


class EventShown(Shown):
    """One event."""

    id: Annotated[
        str, Field(description="The `webhook-id` of its deliveries", examples=["evt_019a3c4e5f607182a1b2c3d4e5f6"])
    ]
    type: Annotated[str, Field(examples=["payout.delivered"])]
    payout_id: Annotated[str | None, Field(description="null for an event about an endpoint")]
    sequence: Annotated[int | None, Field(description="Of its payout, from 1, without gaps")]
    test_mode: bool
    created_at: Moment
    body: Annotated[dict[str, Any] | None, Field(description="What webhooks carry; null once it is no longer kept")]


class EventQuery(TimedQuery):
    """Which events are wanted."""

    type: Annotated[Name | None, Field(description="`payout.delivered`, `endpoint.disabled`, …")] = None
    payout_id: Name | None = None


def _shown(event: Event) -> EventShown:
    names = ("id", "type", "payout_id", "sequence", "test_mode", "created_at", "body")
    return EventShown.model_validate({name: getattr(event, name) for name in names})


@operation("GET", "/v1/events", scope=Scope.WEBHOOKS_READ, tag="events", summary="List events")
def list_events(call: Call, query: EventQuery) -> Page[EventShown]:
    """Newest first: everything that happened, whether or not an endpoint was owed it."""
    filters = EventFilters(type=query.type, payout_id=query.payout_id)
    return page_of(find_events(call.session, sight_of(call), filters, stretch_of("evt", query)), query, _shown)


@operation(
    "GET",
    "/v1/events/{event_id}",
    scope=Scope.WEBHOOKS_READ,
    tag="events",
    summary="Get an event",
    refusals=("unknown_event",),
)
def get_event(call: Call, event_id: str) -> EventShown:
    """One event, word for word."""
    return _shown(find_event(call.session, sight_of(call), event_id))


OPERATIONS: Final[list[Operation]] = [list_events, get_event]
