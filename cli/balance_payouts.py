"""`ratchet balances destination|pay`: where a balance pays to, and a payout of it."""

from typing import Any

import click
from sqlmodel import Session

from cli._json import JSON_OBJECT
from cli._rules import carried_out, minor
from connectors._base import Wish
from payouts import treasury
from payouts.balances import BalancePayout, create_balance_payout
from payouts.create import Created
from payouts.destinations import set_destination
from payouts.treasury import By


@click.command()
@click.argument("balance_id")
@click.argument("integration")
@click.option("--mode", default="bank_transfer", show_default=True, help="Or a word of the gateway's own.")
@click.option("--first-name", default="", help="Of whoever gets it.")
@click.option("--last-name", default="")
@click.option("--email", default="")
@click.option("--phone", help="E.164: +22901660000.")
@click.option("--country", help="Two letters: of the telephone.")
@click.option(
    "--details", type=JSON_OBJECT, default="{}", help="JSON: what the gateway needs beyond that, in its own words."
)
@click.option("--reason", default="")
def destination(balance_id: str, integration: str, *, details: dict[str, Any], reason: str, **who: Any) -> None:
    """Have a balance pay out through INTEGRATION to there. It is kept sealed."""
    wish = Wish(**who, phone_national=_national(who["phone"]), details=details)
    taken = carried_out(lambda session, by: set_destination(session, balance_id, integration, wish, by), reason)
    click.echo(f"{balance_id} pays to {taken.label or taken.mode} through {integration}")


@click.command()
@click.argument("balance_id")
@click.argument("amount", required=False)
@click.option("--description", default="", help="What the gateway shows.")
def pay(balance_id: str, amount: str | None, *, description: str) -> None:
    """Schedule a payout of AMOUNT, or of all above the reserve, for the next business day."""

    def step(session: Session, by: By) -> Created:
        balance = treasury.locked(session, balance_id)
        asked = BalancePayout(
            organisation_id=balance.organisation_id,
            test_mode=balance.test_mode,
            balance_id=balance_id,
            amount_minor=None if amount is None else minor(session, balance_id, amount),
            description=description,
        )
        return create_balance_payout(session, asked, by.now, actor=by.actor)

    created = carried_out(step)
    click.echo(created.id)
    _enqueue(created)


def _enqueue(created: Created) -> None:
    from workers.broker import QueueAway
    from workers.deliver import send_deliver

    try:
        send_deliver(created.deliveries)
    except QueueAway:
        click.echo("the queue is away; the reconciler will take it up", err=True)


def _national(phone: str | None) -> str | None:
    if phone is None:
        return None
    import phonenumbers

    try:
        return phonenumbers.national_significant_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException as error:
        raise click.BadParameter(str(error), param_hint="--phone") from None
