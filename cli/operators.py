"""`ratchet operators add`: who may sign in at the operators' door."""

from datetime import UTC, datetime

import click

from cli._print import actor
from models.audit import record
from models.database import transaction
from models.passwords import WeakPassword, add_operator, password_hash_of


@click.group()
def operators() -> None:
    """Configure who may sign in."""


@operators.command()
@click.argument("name")
@click.password_option(help="At least 12 characters; asked for when not given.")
def add(name: str, password: str) -> None:
    """Let NAME sign in, or give NAME a new password."""
    now = datetime.now(UTC)
    try:
        with transaction() as session:
            action = "operator.password_changed" if password_hash_of(session, name) else "operator.added"
            add_operator(session, name, password, now)
            record(session, actor=actor(), action=action, entity=f"operator:{name}", before=None, after=None, now=now)
    except WeakPassword as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{name} may sign in")
