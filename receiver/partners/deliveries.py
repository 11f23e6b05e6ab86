"""/v1/deliveries: what became of every event at every endpoint, and sending one again."""

from typing import Annotated, Any, Final

from pydantic import Field

from models.api_key import Scope
from models.outbox import DeliveryState
from payouts.owed import DeliveryFilters, Owed, find_delivery
from payouts.owed import list_deliveries as find_deliveries
from payouts.redeliver import redeliver
from payouts.reproduce import reproduced
from receiver.partners.operation import Call, Operation, operation
from receiver.partners.shapes import Moment, Page, Shown
from receiver.partners.sight import Name, TimedQuery, page_of, sight_of, stretch_of
from workers.deliver import send_deliver

TAG: Final = "deliveries"


class DeliveryShown(Shown):
    """One event owed to one endpoint."""

    id: Annotated[str, Field(examples=["dlv_019a3c4e5f607182a1b2c3d4e5f6"])]
    endpoint_id: str
    event_id: str
    event_type: Annotated[str, Field(examples=["payout.delivered"])]
    payout_id: str | None
    sequence: int
    state: Annotated[
        DeliveryState,
        Field(
            description="`open`: it is still tried. `dead`: it is given up. `replaced`: it was dead, and is made anew."
            " `dropped`: its endpoint was deleted"
        ),
    ]
    attempts: int
    last_outcome: Annotated[
        str | None, Field(description="Of the latest attempt: delivered, refused, unreachable or forbidden")
    ]
    last_status_code: int | None
    last_error: str | None
    next_attempt_at: Moment | None
    redelivery_of: Annotated[str | None, Field(description="The delivery that somebody wanted to be made again")]
    recovery_id: Annotated[str | None, Field(description="The recovery that found it missing")]
    test_mode: bool
    created_at: Moment
    closed_at: Moment | None


class AttemptShown(Shown):
    """One HTTP request."""

    number: int
    started_at: Moment
    duration_ms: int
    outcome: str
    status_code: int | None
    error: str | None
    answer: Annotated[str, Field(repr=False, description="The first bytes of the answer, unless it was a success")]


class DeliveryDetailed(DeliveryShown):
    """One delivery with everything about it."""

    tried: Annotated[list[AttemptShown], Field(description="Every attempt, oldest first")]
    curl: Annotated[
        str | None,
        Field(
            repr=False,
            description="A command that sends the same event, signed with the secret in your `$WEBHOOK_SECRET`;"
            " null once the event's body is no longer kept, and where `v1a` alone signs",
        ),
    ]


class DeliveryQuery(TimedQuery):
    """Which deliveries are wanted."""

    endpoint_id: Name | None = None
    state: DeliveryState | None = None
    payout_id: Name | None = None
    event_id: Name | None = None
    event_type: Name | None = None


def shown_delivery(owed: Owed) -> DeliveryShown:
    """Return a delivery as its partner reads it."""
    return DeliveryShown.model_validate(_facts(owed))


def _facts(owed: Owed) -> dict[str, Any]:
    return {name: getattr(owed, name) for name in DeliveryShown.model_fields}


@operation("GET", "/v1/deliveries", scope=Scope.WEBHOOKS_READ, tag=TAG, summary="List deliveries")
def list_deliveries(call: Call, query: DeliveryQuery) -> Page[DeliveryShown]:
    """Newest first."""
    filters = DeliveryFilters(
        endpoint_id=query.endpoint_id,
        state=query.state,
        payout_id=query.payout_id,
        event_id=query.event_id,
        event_type=query.event_type,
    )
    found = find_deliveries(call.session, sight_of(call), filters, stretch_of("dlv", query))
    return page_of(found, query, shown_delivery)


@operation(
    "GET",
    "/v1/deliveries/{delivery_id}",
    scope=Scope.WEBHOOKS_READ,
    tag=TAG,
    summary="Get a delivery",
    refusals=("unknown_delivery",),
)
def get_delivery(call: Call, delivery_id: str) -> DeliveryDetailed:
    """One delivery with its attempts, what was answered, and a command to reproduce it."""
    found = find_delivery(call.session, sight_of(call), delivery_id)
    tried = [{name: getattr(one, name) for name in AttemptShown.model_fields} for one in found.tried]
    return DeliveryDetailed.model_validate({**_facts(found.owed), "tried": tried, "curl": reproduced(found)})


@operation(
    "POST",
    "/v1/deliveries/{delivery_id}/redeliver",
    scope=Scope.WEBHOOKS_WRITE,
    tag=TAG,
    summary="Send an event again",
    status=202,
    refusals=("unknown_delivery", "endpoint_disabled", "endpoint_deleted", "event_pruned"),
)
def redeliver_delivery(call: Call, delivery_id: str) -> DeliveryShown:
    """Send the same event, under the same `webhook-id`, to the same endpoint.

    A closed delivery stays as it is, and a new one is made, which waits for no other. One that is still open is brought
    forward, with those of its payout before it. The answer is the delivery that will be attempted.
    """
    made = redeliver(call.session, sight_of(call), delivery_id, actor=call.actor, now=call.now)
    call.then(lambda: send_deliver(made.deliveries))
    call.headers["location"] = f"/v1/deliveries/{made.id}"
    return shown_delivery(find_delivery(call.session, sight_of(call), made.id).owed)


OPERATIONS: Final[list[Operation]] = [list_deliveries, get_delivery, redeliver_delivery]
