"""`ratchet endpoints add|list|show|update|rotate|enable|disable|delete|ping|contact`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import click
from sqlmodel import Session, col, select

from cli._print import actor, cell, document, json_option, rows
from cli._when import Length
from models.database import transaction
from models.endpoint import Endpoint
from models.organisation import Organisation
from payouts import endpoints as rules
from payouts.addresses import vet
from payouts.endpoint_choices import EVENT_TYPES, Wish
from payouts.notices import ping as owe_ping
from payouts.refused import Refused
from payouts.signing import SCHEMES, public_keys

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group()
def endpoints() -> None:
    """Configure where partners listen."""


def _choices(command: _Command) -> _Command:
    """Give a command the options for everything that may be chosen."""
    options = [
        click.option("--event-type", "event_types", multiple=True, type=click.Choice(["*", *EVENT_TYPES])),
        click.option("--description"),
        click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="The partner's own notes."),
        click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="Sent with every request."),
        click.option("--rate-limit", type=click.IntRange(0), help="Deliveries a second; 0 for no limit."),
        click.option("--retry-after", "retry_schedule", multiple=True, type=int, help="Seconds, one for each retry."),
        click.option("--sign", "signatures", multiple=True, type=click.Choice(list(SCHEMES)), help="v1 if not given."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@endpoints.command()
@click.argument("organisation")
@click.argument("url")
@click.option("--test", "test_mode", is_flag=True, help="Hears of test payouts, and of no others.")
@_choices
def add(organisation: str, url: str, *, test_mode: bool, **choices: Any) -> None:
    """Add an endpoint at URL for ORGANISATION, which is made if it is new. Prints the secret, this once."""
    now = datetime.now(UTC)
    with _refusals():
        wish: Wish = {**_wish(choices), "url": vet(url)}
        with transaction() as session:
            owner = _organisation(session, organisation) or Organisation(name=organisation, created_at=now)
            session.add(owner)
            session.flush()
            added = rules.add(session, owner.id, wish, test_mode=test_mode, actor=actor(), now=now)
    click.echo(f"{added.endpoint.id}\n{added.secret}")
    click.echo("Give the secret to the partner now: it is not shown again.", err=True)


@endpoints.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """Show every endpoint; secrets are never shown."""
    with transaction() as session:
        found = session.exec(
            select(Endpoint, Organisation.name)
            .join(Organisation, col(Organisation.id) == col(Endpoint.organisation_id))
            .where(col(Endpoint.deleted_at).is_(None))
            .order_by(col(Endpoint.id))
        ).all()
    columns = ("id", "organisation", "url", "event_types", "test_mode", "is_enabled", "breaker", "created_at")
    values = [
        [e.id, name, e.url, e.event_types or "all", e.test_mode, e.is_enabled, e.breaker, e.created_at]
        for e, name in found
    ]
    rows("endpoints", columns, values, as_json=as_json, empty="no endpoints yet: `ratchet endpoints add`")


@endpoints.command()
@click.argument("endpoint_id", metavar="ID")
@json_option
def show(endpoint_id: str, *, as_json: bool) -> None:
    """Show one endpoint: what was chosen for it, how it fares, and the keys that verify its `v1a` signatures."""
    now = datetime.now(UTC)
    with _refusals(), transaction() as session:
        endpoint = rules.find(session, endpoint_id)
        facts = _facts(endpoint, now)
    if as_json:
        document(facts)
        return
    rows(endpoint_id, ("what", "value"), list(facts.items()), as_json=False, empty="")


@endpoints.command()
@click.argument("endpoint_id", metavar="ID")
@click.option("--url")
@_choices
def update(endpoint_id: str, *, url: str | None, **choices: Any) -> None:
    """Change what is given, and nothing else. Headers and metadata are replaced as a whole."""
    wish = _wish(choices)
    with _refusals():
        if url:
            wish["url"] = vet(url)
        if not wish:
            raise click.UsageError("nothing to change: give an option")
        with transaction() as session:
            endpoint = rules.find(session, endpoint_id, for_change=True)
            rules.change(session, endpoint, wish, actor=actor(), now=datetime.now(UTC))
    click.echo(f"{endpoint_id}: changed {', '.join(sorted(wish))}")


@endpoints.command()
@click.argument("endpoint_id", metavar="ID")
@click.option("--keep-old-hours", type=Length(0, 24 * 30), default=24.0, show_default=True)
def rotate(endpoint_id: str, keep_old_hours: float) -> None:
    """Give ID a new secret and a new private key. Until --keep-old-hours are over the old ones sign as well.

    With --keep-old-hours 0 even an ID whose old ones can no longer be opened gets new ones.
    """
    now, grace = datetime.now(UTC), timedelta(hours=keep_old_hours)
    with _refusals(), transaction() as session:
        endpoint = rules.find(session, endpoint_id, for_change=True)
        secret = rules.rotate(session, endpoint, grace=grace, actor=actor(), now=now)
    click.echo(secret)
    old = f"until {cell(now + grace)}" if grace else "no more"
    click.echo(f"Give it to the partner now: it is not shown again. Old ones sign {old}.", err=True)


@endpoints.command()
@click.argument("endpoint_id", metavar="ID")
def disable(endpoint_id: str) -> None:
    """Send ID nothing and owe it nothing new. What is owed already waits; `enable` undoes it."""
    _switch(endpoint_id, rules.disable)
    click.echo(f"{endpoint_id} is disabled")


@endpoints.command()
@click.argument("endpoint_id", metavar="ID")
def enable(endpoint_id: str) -> None:
    """Deliver to ID again, whoever or whatever had disabled it."""
    _switch(endpoint_id, rules.enable)
    click.echo(f"{endpoint_id} is enabled; what waited for it goes out within seconds")


@endpoints.command()
@click.argument("endpoint_id", metavar="ID")
@click.confirmation_option(prompt="Its secrets are wiped, and what is still owed to it is dropped. Go on?")
def delete(endpoint_id: str) -> None:
    """Delete ID."""
    _switch(endpoint_id, rules.delete)
    click.echo(f"{endpoint_id} is deleted")


@endpoints.command()
@click.argument("endpoint_id", metavar="ID")
def ping(endpoint_id: str) -> None:
    """Send ID one `endpoint.ping`. Prints the delivery."""
    from workers.broker import QueueAway
    from workers.deliver import send_deliver

    with _refusals(), transaction() as session:
        told = owe_ping(session, rules.find(session, endpoint_id), datetime.now(UTC))
    click.echo(told.deliveries[0])
    try:
        send_deliver(told.deliveries)
    except QueueAway:
        click.echo("the queue is away; the sweep sends it when it is back", err=True)


@endpoints.command()
@click.argument("organisation")
@click.argument("email")
def contact(organisation: str, email: str) -> None:
    """Set whom ORGANISATION wants written to when we switch an endpoint off; an empty EMAIL for nobody."""
    with _refusals(), transaction() as session:
        rules.set_contact(session, _organisation(session, organisation), email, actor=actor(), now=datetime.now(UTC))
    click.echo(f"{organisation}: {email or 'nobody'} is written to")


def _switch(endpoint_id: str, rule: Callable[..., None]) -> None:
    with _refusals(), transaction() as session:
        rule(session, rules.find(session, endpoint_id, for_change=True), actor=actor(), now=datetime.now(UTC))


def _organisation(session: Session, name: str) -> Organisation | None:
    return session.exec(select(Organisation).where(Organisation.name == name)).one_or_none()


def _wish(choices: dict[str, Any]) -> Wish:
    """Return what was chosen; an option that was not given is not in it."""
    wish: dict[str, Any] = {name: value for name, value in choices.items() if value not in (None, ())}
    for name in ("metadata", "headers"):
        if name in wish:
            wish[name] = dict(_pair(given) for given in cast("Sequence[str]", wish[name]))
    if wish.get("rate_limit") == 0:
        wish["rate_limit"] = None
    return cast("Wish", wish)


def _pair(given: str) -> tuple[str, str]:
    name, separator, value = given.partition("=")
    if not separator:
        raise click.UsageError(f"{name!r} must be NAME=VALUE")
    return name, value


def _facts(endpoint: Endpoint, now: datetime) -> dict[str, Any]:
    columns = ("id", "url", "event_types", "description", "test_mode", "rate_limit", "retry_schedule", "is_enabled")
    fares = ("disabled_reason", "disabled_at", "breaker", "failures", "failing_since", "not_before", "created_at")
    return {
        **{name: getattr(endpoint, name) for name in columns},
        "metadata": endpoint.labels,
        "headers": rules.header_names(endpoint),
        "signatures": endpoint.schemes,
        "public_keys": [key.text for key in public_keys(endpoint, now)],
        **{name: getattr(endpoint, name) for name in fares},
    }


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None
