"""`ratchet endpoints add|list`."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import click
from sqlmodel import select

from cli._actor import actor
from cli._print import json_option, rows
from models.audit import record
from models.database import transaction
from models.endpoint import Endpoint
from models.lifecycle import PayoutStatus
from models.organisation import Organisation
from models.sealed import seal
from settings import settings
from workers.signing import new_secret

EVENT_TYPES = [f"payout.{status}" for status in PayoutStatus]


@click.group()
def endpoints() -> None:
    """Configure where partners listen."""


@endpoints.command()
@click.argument("organisation")
@click.argument("url")
@click.option("--event-type", "types", multiple=True, type=click.Choice(EVENT_TYPES), help="Only these; default all.")
@click.option("--description", default="")
def add(organisation: str, url: str, types: tuple[str, ...], description: str) -> None:
    """Add an endpoint at URL for ORGANISATION, which is made if it is new. Prints the secret, this once."""
    if not url.startswith("https://") and not (settings().private_endpoints and url.startswith("http://")):
        raise click.BadParameter(
            "must start with https:// (http only with RATCHET_PRIVATE_ENDPOINTS=1)", param_hint="URL"
        )
    secret = new_secret()
    now = datetime.now(UTC)
    with transaction() as session:
        owner = session.exec(select(Organisation).where(Organisation.name == organisation)).one_or_none()
        if owner is None:
            owner = Organisation(name=organisation, created_at=now)
            session.add(owner)
            session.flush()
        endpoint = Endpoint(
            organisation_id=owner.id,
            url=url,
            event_types=list(types) or None,
            description=description,
            sealed=seal([secret]),
            created_at=now,
            updated_at=now,
        )
        session.add(endpoint)
        after = {"organisation": organisation, "host": urlsplit(url).hostname, "event_types": endpoint.event_types}
        record(session, actor=actor(), action="endpoint.added", entity=endpoint.id, before=None, after=after, now=now)
    click.echo(f"{endpoint.id}\n{secret}")
    click.echo("Give the secret to the partner now: it is not shown again.", err=True)


@endpoints.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """Show every endpoint; secrets are never shown."""
    with transaction() as session:
        found = session.exec(
            select(Endpoint, Organisation.name).join(Organisation, Organisation.id == Endpoint.organisation_id)  # type: ignore[arg-type]
        ).all()
    columns = ("id", "organisation", "url", "event_types", "is_enabled", "created_at")
    values = [[e.id, name, e.url, e.event_types or "all", e.is_enabled, e.created_at] for e, name in found]
    rows("endpoints", columns, values, as_json=as_json, empty="no endpoints yet: `ratchet endpoints add`")
