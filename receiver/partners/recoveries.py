"""/v1/recoveries: send an endpoint everything that it has missed since a time."""

from typing import Annotated, Final

from pydantic import Field

from models.api_key import Scope
from models.recovery import Recovery, RecoveryState
from payouts.recover import find_recovery, progress, start
from payouts.recover import list_recoveries as find_recoveries
from receiver.partners.operation import Call, Operation, operation
from receiver.partners.shapes import Body, Moment, Page, PageQuery, Shown
from receiver.partners.sight import Name, page_of, sight_of, stretch_of

TAG: Final = "recoveries"


class NewRecovery(Body):
    """What is to be made good."""

    endpoint_id: Name
    since: Annotated[Moment, Field(description="Events from then on")]


class RecoveryShown(Shown):
    """A recovery, and how far it is."""

    id: Annotated[str, Field(examples=["rcv_019a3c4e5f607182a1b2c3d4e5f6"])]
    endpoint_id: str
    since: Moment
    until: Annotated[Moment, Field(description="When it was asked for; later events arrive by themselves")]
    state: Annotated[RecoveryState, Field(description="`stopped`: its endpoint was disabled or deleted meanwhile")]
    progress: Annotated[float, Field(ge=0, le=1, description="1 when it is done")]
    examined: Annotated[int, Field(description="Events that the endpoint subscribes to")]
    owed: Annotated[int, Field(description="Deliveries that it has made")]
    pruned: Annotated[int, Field(description="Missed events whose body is no longer kept")]
    test_mode: bool
    created_at: Moment
    finished_at: Moment | None


def _shown(recovery: Recovery) -> RecoveryShown:
    names = set(RecoveryShown.model_fields) - {"progress"}
    return RecoveryShown.model_validate(
        {**{name: getattr(recovery, name) for name in names}, "progress": round(progress(recovery), 4)}
    )


@operation(
    "POST",
    "/v1/recoveries",
    scope=Scope.WEBHOOKS_WRITE,
    tag=TAG,
    summary="Recover what an endpoint has missed",
    status=202,
    refusals=("unknown_endpoint", "endpoint_disabled", "since_not_past", "recovery_running"),
    examples={"since the night": {"endpoint_id": "ep_019a3c4e5f607182a1b2c3d4e5f6", "since": "2026-05-12T00:00:00Z"}},
)
def create_recovery(call: Call, body: NewRecovery) -> RecoveryShown:
    """Send every subscribed event since then that is neither delivered nor on its way.

    That is what died, and what was never owed because the endpoint was disabled or was added later. It is worked off in
    small steps, in order per payout; look how far it is at `Location`.
    """
    recovery = start(call.session, sight_of(call), body.endpoint_id, body.since, actor=call.actor, now=call.now)
    call.headers["location"] = f"/v1/recoveries/{recovery.id}"
    return _shown(recovery)


@operation("GET", "/v1/recoveries", scope=Scope.WEBHOOKS_READ, tag=TAG, summary="List recoveries")
def list_recoveries(call: Call, query: PageQuery) -> Page[RecoveryShown]:
    """Newest first."""
    found = find_recoveries(call.session, sight_of(call), stretch_of("rcv", query))
    return page_of(found, query, _shown)


@operation(
    "GET",
    "/v1/recoveries/{recovery_id}",
    scope=Scope.WEBHOOKS_READ,
    tag=TAG,
    summary="Get a recovery",
    refusals=("unknown_recovery",),
)
def get_recovery(call: Call, recovery_id: str) -> RecoveryShown:
    """How far it is."""
    return _shown(find_recovery(call.session, sight_of(call), recovery_id))


OPERATIONS: Final[list[Operation]] = [create_recovery, list_recoveries, get_recovery]
