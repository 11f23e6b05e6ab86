"""`ratchet portal link|list|end`: a partner's way to the page where it sees and mends its webhooks."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click
from sqlmodel import select

from cli._partners import list_options, refusals, seen
from cli._print import actor, cell, json_option, rows
from models.database import transaction
from models.organisation import Organisation
from models.portal import PortalLink
from payouts.portal import end as end_link
from payouts.portal import list_links, mint
from payouts.sight import EVERYTHING
from settings import settings


@click.group()
def portal() -> None:
    """Give partners a link to their page."""


@portal.command()
@click.argument("organisation")
@click.option("--live/--test", "is_live", default=True, show_default=True, help="Which side of theirs they see.")
@click.option("--minutes", type=click.IntRange(1, 24 * 60), default=60, show_default=True, help="To open it in.")
def link(organisation: str, minutes: int, *, is_live: bool) -> None:
    """Print a link that opens ORGANISATION's page, once. Whoever has it can mend their webhooks."""
    now = datetime.now(UTC)
    with refusals(), transaction() as session:
        owner = session.exec(select(Organisation).where(Organisation.name == organisation)).one_or_none()
        if owner is None:
            raise click.BadParameter(f"no organisation {organisation!r}", param_hint="ORGANISATION")
        lifetime = timedelta(minutes=minutes)
        minted = mint(session, owner.id, test_mode=not is_live, lifetime=lifetime, actor=actor(), now=now)
    click.echo(f"{settings().public_url}/portal/enter/{minted.token}")
    click.echo(f"{minted.link.id} can be opened once, until {cell(minted.link.expires_at)}", err=True)


@portal.command("list")
@list_options
@json_option
def list_(*, as_json: bool, **which: Any) -> None:
    """List links, newest first, and what became of each."""
    now = datetime.now(UTC)
    sight, stretch = seen("lnk", which)
    with transaction() as session:
        found = list_links(session, sight, stretch)
    columns = ("id", "organisation", "test_mode", "made_by", "created_at", "expires_at", "opened_at", "is")
    values = [
        [x.id, x.organisation_id, x.test_mode, x.made_by, x.created_at, x.expires_at, x.opened_at, _standing(x, now)]
        for x in found
    ]
    rows("portal links", columns, values, as_json=as_json, empty="no links yet: `ratchet portal link`")


@portal.command()
@click.argument("link_id", metavar="ID")
def end(link_id: str) -> None:
    """End a link, and the visit it has led to, now."""
    with refusals(), transaction() as session:
        end_link(session, EVERYTHING, link_id, actor=actor(), now=datetime.now(UTC))
    click.echo(f"{link_id} has ended")


def _standing(found: PortalLink, now: datetime) -> str:
    if found.ended_at:
        return "ended"
    if found.visit_until:
        return "visited" if found.visit_until > now else "over"
    return "fresh" if found.expires_at > now else "expired"
