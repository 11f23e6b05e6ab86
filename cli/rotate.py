"""`ratchet gateways rotate`: new secrets for an integration, also where the key of the old ones is lost."""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import click

from cli._print import cell
from cli._when import Length
from cli.gateways import facts, note, one, pairs
from connectors import connector_class
from models.database import transaction
from models.integration import Integration, IntegrationSecrets
from models.sealed import CannotOpen


@click.command()
@click.argument("slug")
@click.option(
    "--webhook-secret", "secrets", multiple=True, help="The new one; the old ones go on verifying for a while."
)
@click.option("--keep-old-hours", type=Length(0, 24 * 90), default=24.0, show_default=True)
@click.option("--credential", "credentials", multiple=True, metavar="NAME=VALUE", help="Replaces the one of that name.")
def rotate(slug: str, secrets: tuple[str, ...], keep_old_hours: float, credentials: tuple[str, ...]) -> None:
    """Replace SLUG's webhook secrets or credentials. Old webhook secrets verify until --keep-old-hours are over.

    Where the key of the old ones is lost, all must be given, and only what is given counts.
    """
    if any(not secret.strip() for secret in secrets):
        raise click.BadParameter("an empty secret would let anybody sign", param_hint="--webhook-secret")
    replaced = pairs(credentials, "--credential")
    if not secrets and not replaced:
        raise click.UsageError("nothing to replace: give --webhook-secret or --credential")
    now = datetime.now(UTC)
    with transaction() as session:
        integration = one(session, slug)
        before = facts(integration)
        old = _old_secrets(integration, secrets, replaced)
        until = now + timedelta(hours=keep_old_hours) if secrets and old else None
        known = old or IntegrationSecrets()
        if secrets:
            known = known.rotated(secrets, until or now)
        integration.keep(dataclasses.replace(known, credentials={**known.credentials, **replaced}))
        integration.updated_at = now
        replacing = {"webhook_secrets": len(secrets), "credentials": [*replaced]}
        note(session, integration, "rotated", before, **replacing, old_until=until, old_lost=old is None)
    click.echo(f"{slug}: rotated" + (f"; old webhook secrets verify until {cell(until)}" if until else ""))
    if old is None:
        click.echo("the old secrets cannot be opened and are gone: only what was given counts", err=True)


def _old_secrets(
    integration: Integration, secrets: tuple[str, ...], credentials: Mapping[str, str]
) -> IntegrationSecrets | None:
    """Return what SLUG has, or None where its key is lost and everything is given anew."""
    try:
        return integration.secrets()
    except CannotOpen:
        missing = [name for name in connector_class(integration.connector).CREDENTIALS if name not in credentials]
        wanted = [f"--credential {name}=…" for name in missing]
        if integration.has_webhook_secret and not secrets:
            wanted.insert(0, "--webhook-secret …")
        if wanted:
            raise click.ClickException(
                f"{integration.slug}'s old secrets cannot be opened: put their key back into RATCHET_SECRET_KEYS;"
                f" if it is lost, all must be given anew, so add {' '.join(wanted)}"
            ) from None
        return None
