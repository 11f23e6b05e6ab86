"""`ratchet operators add`: who may sign in at the operators' door."""

from datetime import UTC, datetime

import click

from models.database import transaction
from models.passwords import WeakPassword, add_operator


@click.group()
def operators() -> None:
    """Configure who may sign in."""


@operators.command()
@click.argument("name")
@click.password_option(help="At least 12 characters; asked for when not given.")
def add(name: str, password: str) -> None:
    """Let NAME sign in, or give NAME a new password."""
    try:
        with transaction() as session:
            add_operator(session, name, password, datetime.now(UTC))
    except WeakPassword as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{name} may sign in")
