"""/v1/webhook-endpoints: where a partner listens."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import Field

from models.api_key import Scope
from models.endpoint import Endpoint
from payouts import endpoints as rules
from payouts.addresses import VettedUrl, vet
from payouts.endpoint_choices import Wish
from payouts.notices import ping as owe_ping
from payouts.owed import find_delivery
from receiver.partners.deliveries import DeliveryShown, shown_delivery
from receiver.partners.endpoint_shapes import (
    EndpointAdded,
    EndpointChanges,
    EndpointShown,
    NewEndpoint,
    SecretRotated,
    facts,
    shown,
    wish_of,
)
from receiver.partners.operation import Call, Operation, operation
from receiver.partners.shapes import Body, Page, PageQuery
from receiver.partners.sight import page_of, sight_of, stretch_of
from workers.deliver import send_deliver

TAG: Final = "webhook endpoints"
PATH: Final = "/v1/webhook-endpoints"
ONE: Final = PATH + "/{endpoint_id}"

CHOICES: Final = (
    *("url_invalid", "url_not_https", "url_has_credentials", "url_port_forbidden", "url_not_public"),
    *("event_types_invalid", "description_invalid", "metadata_invalid", "headers_invalid", "rate_limit_invalid"),
    *("retry_schedule_invalid", "signatures_invalid"),
)
"""What a rule may have against a choice."""

_USUAL: Final = {"url": "https://partner.example/hooks", "event_types": ["payout.delivered", "payout.failed"]}
_SLOW: Final = {"url": "https://partner.example/hooks", "rate_limit": 20, "headers": {"x-token": "t0k3n"}}


def _vetted(*, body: NewEndpoint | EndpointChanges, **_: Any) -> VettedUrl | None:
    """Vet the URL, which asks the resolver."""
    return None if body.url is None else vet(body.url)


@operation(
    "POST",
    PATH,
    scope=Scope.WEBHOOKS_WRITE,
    tag=TAG,
    summary="Add an endpoint",
    status=201,
    refusals=(*CHOICES, "too_many_endpoints"),
    examples={"two types": _USUAL, "slowly, with a token": _SLOW},
    prepare=_vetted,
)
def create_webhook_endpoint(call: Call, body: NewEndpoint, prepared: VettedUrl) -> EndpointAdded:
    """Hear of payouts from now on. The answer holds the endpoint's secret, this once.

    A key of test mode adds endpoints that hear of test payouts, a live key of live ones.
    """
    wish: Wish = {**wish_of(body), "url": prepared}
    caller = call.caller
    added = rules.add(
        call.session, caller.organisation_id, wish, test_mode=caller.test_mode, actor=call.actor, now=call.now
    )
    call.headers["location"] = f"{PATH}/{added.endpoint.id}"
    return EndpointAdded.model_validate({**facts(added.endpoint, call.now), "secret": added.secret})


@operation("GET", PATH, scope=Scope.WEBHOOKS_READ, tag=TAG, summary="List endpoints")
def list_webhook_endpoints(call: Call, query: PageQuery) -> Page[EndpointShown]:
    """Newest first."""
    found = rules.list_endpoints(call.session, sight_of(call), stretch_of("ep", query))
    return page_of(found, query, lambda endpoint: shown(endpoint, call.now))


@operation("GET", ONE, scope=Scope.WEBHOOKS_READ, tag=TAG, summary="Get an endpoint", refusals=("unknown_endpoint",))
def get_webhook_endpoint(call: Call, endpoint_id: str) -> EndpointShown:
    """What was chosen for it, and how it fares."""
    return shown(find(call, endpoint_id), call.now)


@operation(
    "PATCH",
    ONE,
    scope=Scope.WEBHOOKS_WRITE,
    tag=TAG,
    summary="Change an endpoint",
    refusals=("unknown_endpoint", *CHOICES),
    examples={"all types, without a limit": {"event_types": ["*"], "rate_limit": None}},
    prepare=_vetted,
)
def update_webhook_endpoint(
    call: Call, endpoint_id: str, body: EndpointChanges, prepared: VettedUrl | None
) -> EndpointShown:
    """Change what is named. What is owed already goes to the new URL, too."""
    wish = wish_of(body)
    if prepared is not None:
        wish["url"] = prepared
    endpoint = find(call, endpoint_id, for_change=True)
    rules.change(call.session, endpoint, wish, actor=call.actor, now=call.now)
    return shown(endpoint, call.now)


@operation(
    "DELETE",
    ONE,
    scope=Scope.WEBHOOKS_WRITE,
    tag=TAG,
    summary="Delete an endpoint",
    status=204,
    refusals=("unknown_endpoint",),
)
def delete_webhook_endpoint(call: Call, endpoint_id: str) -> None:
    """Wipe its secrets and drop what is still owed to it."""
    rules.delete(call.session, find(call, endpoint_id, for_change=True), actor=call.actor, now=call.now)


@operation(
    "POST",
    ONE + "/enable",
    scope=Scope.WEBHOOKS_WRITE,
    tag=TAG,
    summary="Enable an endpoint",
    refusals=("unknown_endpoint",),
)
def enable_webhook_endpoint(call: Call, endpoint_id: str) -> EndpointShown:
    """Deliver again, whoever or whatever had disabled it. What it missed meanwhile is sent by a recovery."""
    return _switched(call, endpoint_id, rules.enable)


@operation(
    "POST",
    ONE + "/disable",
    scope=Scope.WEBHOOKS_WRITE,
    tag=TAG,
    summary="Disable an endpoint",
    refusals=("unknown_endpoint",),
)
def disable_webhook_endpoint(call: Call, endpoint_id: str) -> EndpointShown:
    """Send it nothing and owe it nothing new. What is owed already waits."""
    return _switched(call, endpoint_id, rules.disable)


class Rotation(Body):
    """How a secret is replaced. Send `{}` for the usual way."""

    keep_old_hours: Annotated[
        int, Field(ge=0, le=720, description="How long the old secrets sign too; 0 when one has leaked")
    ] = 24


@operation(
    "POST",
    ONE + "/rotate-secret",
    scope=Scope.WEBHOOKS_WRITE,
    tag=TAG,
    summary="Rotate an endpoint's secret",
    refusals=("unknown_endpoint", "too_many_secrets", "secrets_lost"),
    examples={"the usual way": {}, "the old one has leaked": {"keep_old_hours": 0}},
)
def rotate_webhook_secret(call: Call, endpoint_id: str, body: Rotation) -> SecretRotated:
    """Get a new secret, this once. Until the old ones end, every webhook is signed with all of them."""
    grace = timedelta(hours=body.keep_old_hours)
    endpoint = find(call, endpoint_id, for_change=True)
    secret = rules.rotate(call.session, endpoint, grace=grace, actor=call.actor, now=call.now)
    return SecretRotated(id=endpoint.id, secret=secret, old_secrets_until=call.now + grace)


@operation(
    "POST",
    ONE + "/ping",
    scope=Scope.WEBHOOKS_WRITE,
    tag=TAG,
    summary="Ping an endpoint",
    status=202,
    refusals=("unknown_endpoint", "endpoint_disabled"),
)
def ping_webhook_endpoint(call: Call, endpoint_id: str) -> DeliveryShown:
    """Send it one signed `endpoint.ping` at once, whatever types it subscribes to.

    What came of it stands at `Location`.
    """
    told = owe_ping(call.session, find(call, endpoint_id), call.now)
    call.then(lambda: send_deliver(told.deliveries))
    call.headers["location"] = f"/v1/deliveries/{told.deliveries[0]}"
    return shown_delivery(find_delivery(call.session, sight_of(call), told.deliveries[0]).owed)


def find(call: Call, endpoint_id: str, *, for_change: bool = False) -> Endpoint:
    """Return the caller's endpoint. Another organisation's, or one of the other mode, is as unknown as none."""
    caller = call.caller
    return rules.find(
        call.session,
        endpoint_id,
        organisation_id=caller.organisation_id,
        test_mode=caller.test_mode,
        for_change=for_change,
    )


def _switched(call: Call, endpoint_id: str, rule: Callable[..., None]) -> EndpointShown:
    endpoint = find(call, endpoint_id, for_change=True)
    rule(call.session, endpoint, actor=call.actor, now=call.now)
    return shown(endpoint, call.now)


OPERATIONS: Final[list[Operation]] = [
    create_webhook_endpoint,
    list_webhook_endpoints,
    get_webhook_endpoint,
    update_webhook_endpoint,
    delete_webhook_endpoint,
    enable_webhook_endpoint,
    disable_webhook_endpoint,
    rotate_webhook_secret,
    ping_webhook_endpoint,
]
