"""`ratchet gateways add|list|set|disable|enable|new`."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click
from sqlmodel import Session, select

from cli._options import parse_options
from cli._print import actor, json_option, rows
from cli._scaffold import AlreadyThere, write
from connectors import NAMES, connector_class
from models.audit import record
from models.database import transaction
from models.integration import Integration, IntegrationSecrets
from models.money import InvalidAmount, exponent

SLUG = r"[a-z0-9][a-z0-9-]{0,62}"


@click.group()
def gateways() -> None:
    """Configure accounts at gateways."""


@gateways.command()
@click.argument("connector", type=click.Choice(NAMES))
@click.argument("slug")
@click.option("--webhook-secret", "secrets", multiple=True, help="What the gateway signs with. Several while rotating.")
@click.option("--no-webhook-secret", "poll_only", is_flag=True, help="Refuse all its webhooks and rely on polling.")
@click.option("--credential", "credentials", multiple=True, metavar="NAME=VALUE", help="For calls to the gateway.")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="Override an assumption of the connector."
)
@click.option("--base-url", help="Where its API is, if not where the connector thinks.")
@click.option("--currency", "currencies", multiple=True, help="It pays out in these only; default all its connector's.")
@click.option("--test", "is_test", is_flag=True, help="It moves no money: for payouts of test keys, and no others.")
def add(
    connector: str,
    slug: str,
    secrets: tuple[str, ...],
    *,
    poll_only: bool,
    credentials: tuple[str, ...],
    options: tuple[str, ...],
    base_url: str | None,
    currencies: tuple[str, ...],
    is_test: bool,
) -> None:
    """Add an integration: an account at CONNECTOR, known as SLUG. Its webhook URL ends in /webhooks/SLUG."""
    _check_slug(slug)
    _check_secrets(connector, secrets, poll_only=poll_only)
    now = datetime.now(UTC)
    integration = Integration(
        slug=slug,
        connector=connector,
        base_url=_checked_url(base_url),
        options=parse_options(connector, options),
        currencies=_currencies(currencies),
        test_mode=is_test,
        sealed=b"",
        has_webhook_secret=False,
        created_at=now,
        updated_at=now,
    )
    integration.keep(IntegrationSecrets(secrets, pairs(credentials, "--credential")))
    with transaction() as session:
        if session.exec(select(Integration).where(Integration.slug == slug)).first():
            raise click.ClickException(f"there is an integration {slug!r} already; choose another slug")
        session.add(integration)
        note(session, integration, "added", None)
    missing = set(connector_class(connector).CREDENTIALS) - set(pairs(credentials, "--credential"))
    click.echo(f"{slug} added; the gateway's webhooks go to …/webhooks/{slug}")
    if missing:
        click.echo(f"it cannot be polled yet: no --credential {', '.join(sorted(missing))}", err=True)
    if poll_only:
        click.echo("it has no webhook secret: its webhooks get 403, and it creates no payouts", err=True)


@gateways.command("list")
@click.option("--connectors", "show_connectors", is_flag=True, help="Show what each connector can do instead.")
@json_option
def list_(*, show_connectors: bool, as_json: bool) -> None:
    """Show every integration; secrets are never shown."""
    if show_connectors:
        _list_connectors(as_json=as_json)
        return
    with transaction() as session:
        found = session.exec(select(Integration).order_by(Integration.slug)).all()
    columns = ("slug", "connector", "is_active", "has_webhook_secret", "payouts_enabled", "base_url", "created_at")
    values = [[getattr(integration, column) for column in columns] for integration in found]
    rows("integrations", columns, values, as_json=as_json, empty="no integrations yet: `ratchet gateways add`")


@gateways.command("set")
@click.argument("slug")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="docs/gateway-settings.md has them all.")
@click.option("--default", "defaults", multiple=True, metavar="NAME", help="Back to the connector's own value.")
@click.option("--base-url", help="Where its API is.")
def set_(slug: str, options: tuple[str, ...], defaults: tuple[str, ...], base_url: str | None) -> None:
    """Change what SLUG has agreed with its gateway. Receivers and workers know within seconds."""
    if not options and not defaults and base_url is None:
        raise click.UsageError("nothing to change: give --option, --default or --base-url")
    with transaction() as session:
        integration = one(session, slug)
        before, chosen = facts(integration), parse_options(integration.connector, options)
        kept = {name: value for name, value in integration.options.items() if name not in defaults}
        integration.options = kept | chosen
        integration.base_url = _checked_url(base_url) or integration.base_url
        integration.updated_at = datetime.now(UTC)
        note(session, integration, "changed", before)
    click.echo(f"{slug}: changed; `ratchet gateways check {slug}` tries it")


@gateways.command()
@click.argument("slug")
def disable(slug: str) -> None:
    """Refuse SLUG's webhooks, ask it nothing and create nothing there, within seconds. `enable` undoes it."""
    _switch(slug, is_active=False)
    click.echo(f"{slug} is disabled; payouts in flight there will show up as stuck, with reason integration_inactive")


@gateways.command()
@click.argument("slug")
def enable(slug: str) -> None:
    """Undo `disable`."""
    _switch(slug, is_active=True)
    click.echo(f"{slug} is enabled")


@gateways.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a new connector, its sample and its test. The contract suite then tells what is missing."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{1,30}", name):
        raise click.BadParameter("a module's name: lower-case letters, digits and _", param_hint="NAME")
    try:
        written = write(name)
    except AlreadyThere as error:
        raise click.ClickException(str(error)) from None
    for path in written:
        click.echo(path)
    click.echo("next: docs/adding-a-gateway.md, then .venv/bin/python -m pytest tests/connectors", err=True)


def _list_connectors(*, as_json: bool) -> None:
    columns = ("connector", "creates_payouts", "cancels", "needs_webhook_secret", "statuses", "credentials", "options")
    values = [
        (
            found.name,
            found.SUPPORTS_PAYOUTS,
            found.SUPPORTS_CANCEL,
            found.REQUIRES_WEBHOOK_SECRET,
            len(found.STATUSES),
            list(found.CREDENTIALS),
            list(found.options()),
        )
        for found in map(connector_class, NAMES)
    ]
    rows("connectors", columns, values, as_json=as_json, empty="no connectors")


def _switch(slug: str, *, is_active: bool) -> None:
    with transaction() as session:
        integration = one(session, slug)
        before = facts(integration)
        integration.is_active = is_active
        integration.updated_at = datetime.now(UTC)
        note(session, integration, "enabled" if is_active else "disabled", before)


def note(session: Session, integration: Integration, done: str, before: Mapping[str, Any] | None, **more: Any) -> None:
    """Add the audit line. Of secrets it says only that there are some, of credentials only their names."""
    entity, after = f"integration:{integration.slug}", {**facts(integration), **more}
    now = integration.updated_at
    record(session, actor=actor(), action=f"integration.{done}", entity=entity, before=before, after=after, now=now)


def facts(integration: Integration) -> dict[str, Any]:
    """Return what an audit line may say of an integration."""
    columns = ("connector", "base_url", "options", "is_active", "payouts_enabled", "has_webhook_secret")
    return {column: getattr(integration, column) for column in columns}


def one(session: Session, slug: str) -> Integration:
    """Return the integration, or say which ones there are."""
    found = session.exec(select(Integration).where(Integration.slug == slug)).one_or_none()
    if found is None:
        known = ", ".join(session.exec(select(Integration.slug).order_by(Integration.slug))) or "none yet"
        raise click.ClickException(f"no integration {slug!r}; there are: {known}")
    return found


def _check_slug(slug: str) -> None:
    if not re.fullmatch(SLUG, slug):
        raise click.BadParameter("lower-case letters, digits and dashes, at most 63", param_hint="SLUG")


def _check_secrets(connector: str, secrets: tuple[str, ...], *, poll_only: bool) -> None:
    if any(not secret.strip() for secret in secrets):
        raise click.BadParameter("an empty secret would let anybody sign", param_hint="--webhook-secret")
    if poll_only and secrets:
        raise click.UsageError("--webhook-secret and --no-webhook-secret contradict each other")
    if not secrets and not poll_only and connector_class(connector).REQUIRES_WEBHOOK_SECRET:
        raise click.UsageError("--webhook-secret is missing; nothing could be verified (or say --no-webhook-secret)")


def _checked_url(url: str | None) -> str | None:
    if url is not None and not url.startswith(("https://", "http://")):
        raise click.BadParameter("must start with https:// (or http:// for a sandbox)", param_hint="--base-url")
    return url


def _currencies(codes: tuple[str, ...]) -> list[str] | None:
    try:
        for code in codes:
            exponent(code)
    except InvalidAmount as error:
        raise click.BadParameter(str(error), param_hint="--currency") from None
    return sorted(set(codes)) or None


def pairs(items: tuple[str, ...], hint: str) -> dict[str, str]:
    """Return what was written as NAME=VALUE. Raises `click.BadParameter`."""
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (name and equals and value.strip()):
            raise click.BadParameter("write NAME=VALUE, neither of them empty", param_hint=hint)
        found[name] = value
    return found
