"""/v1/portal-links: hand somebody of yours a link to the page where webhooks are seen and mended."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from models.api_key import Scope
from payouts.portal import end, mint
from receiver.partners.operation import Call, Operation, operation
from receiver.partners.portal.places import ENTER
from receiver.partners.refusals import Refusal
from receiver.partners.shapes import Body, Moment, Shown
from receiver.partners.sight import sight_of
from settings import settings

TAG: Final = "portal links"


class NewPortalLink(Body):
    """How long the link can be opened. Send `{}` for an hour."""

    minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 60


class PortalLinkShown(Shown):
    """A link that opens the page, once."""

    id: Annotated[str, Field(examples=["lnk_019a3c4e5f607182a1b2c3d4e5f6"])]
    url: Annotated[str, Field(repr=False, description="Shown this once. Whoever has it first is let in")]
    expires_at: Annotated[Moment, Field(description="Until then it can be opened")]
    test_mode: bool


@operation(
    "POST",
    "/v1/portal-links",
    scope=Scope.WEBHOOKS_WRITE,
    tag=TAG,
    summary="Make a link to the page",
    status=201,
    examples={"an hour": {}, "a day": {"minutes": 1440}},
)
def create_portal_link(call: Call, body: NewPortalLink) -> PortalLinkShown:
    """Open the page where endpoints and deliveries are seen, pinged, sent again, and secrets rotated.

    The link opens once and leads to a visit of eight hours, of this key's mode. It ends early with this key. The key
    needs the scope `webhooks.read` as well.
    """
    if Scope.WEBHOOKS_READ not in call.caller.scopes:
        raise Refusal("missing_scope", f"whoever opens it can look: this needs the scope {Scope.WEBHOOKS_READ} as well")
    minted = mint(
        call.session,
        call.caller.organisation_id,
        test_mode=call.caller.test_mode,
        lifetime=timedelta(minutes=body.minutes),
        key_id=call.caller.key_id,
        actor=call.actor,
        now=call.now,
    )
    url = f"{settings().public_url}{ENTER}/{minted.token}"
    link = minted.link
    return PortalLinkShown(id=link.id, url=url, expires_at=link.expires_at, test_mode=link.test_mode)


@operation(
    "DELETE",
    "/v1/portal-links/{link_id}",
    scope=Scope.WEBHOOKS_WRITE,
    tag=TAG,
    summary="End a link",
    status=204,
    refusals=("unknown_link",),
)
def delete_portal_link(call: Call, link_id: str) -> None:
    """End it, and the visit that it has led to, now."""
    end(call.session, sight_of(call), link_id, actor=call.actor, now=call.now)


OPERATIONS: Final[list[Operation]] = [create_portal_link, delete_portal_link]
