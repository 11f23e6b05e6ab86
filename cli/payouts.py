"""`ratchet payouts add|show`."""

import json
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli._print import cell, document, json_option
from models.database import transaction
from models.money import InvalidAmount, to_minor, to_text
from payouts.create import NewPayout, Refused, create
from payouts.timeline import Timeline, timeline
from workers.apply import send_apply
from workers.broker import QueueAway
from workers.deliver import send_deliver
from workers.submit import send_submit


@click.group()
def payouts() -> None:
    """Put payouts on record and look at them."""


@payouts.command()
@click.argument("integration")
@click.argument("organisation")
@click.argument("amount")
@click.argument("currency")
@click.option("--order-key", required=True, help="Our key at the gateway, unique per integration.")
@click.option("--reference", help="The gateway's id, for a payout it has already; without it, it is handed over now.")
@click.option("--description", default="", help="What the gateway shows.")
@click.option("--details", default="{}", help="JSON the gateway needs beyond the amount (beneficiary, balance, mode).")
def add(
    integration: str,
    organisation: str,
    amount: str,
    currency: str,
    *,
    order_key: str,
    reference: str | None,
    description: str,
    details: str,
) -> None:
    """Put a payout of AMOUNT CURRENCY on record and, unless the gateway has it already, hand it over."""
    try:
        new = NewPayout(
            integration=integration,
            organisation=organisation,
            order_key=order_key,
            amount_minor=to_minor(amount, currency.upper()),
            currency=currency.upper(),
            reference=reference,
            description=description,
            details=_details(details),
        )
        with transaction() as session:
            created = create(session, new, datetime.now(UTC))
    except InvalidAmount as error:
        raise click.BadParameter(str(error), param_hint="AMOUNT CURRENCY") from None
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None
    click.echo(created.id)
    try:
        send_deliver(created.deliveries)
        send_apply(created.released)
        if reference is None:
            send_submit(created.id)
    except QueueAway:
        click.echo("the queue is away; the reconciler will take it up", err=True)


@payouts.command()
@click.argument("payout_id")
@json_option
def show(payout_id: str, *, as_json: bool) -> None:
    """Print a payout's timeline, with the evidence for every step."""
    with transaction() as session:
        found = timeline(session, payout_id)
    if found is None:
        raise click.ClickException(f"no payout {payout_id!r}")
    if as_json:
        document(found.document())
    else:
        _print(found)


def _details(text: str) -> dict[str, Any]:
    try:
        details = json.loads(text)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"not JSON: {error.msg}", param_hint="--details") from None
    if not isinstance(details, dict):
        raise click.BadParameter("must be a JSON object", param_hint="--details")
    return details


def _print(found: Timeline) -> None:
    del Table, Text, Console, cell, to_text
