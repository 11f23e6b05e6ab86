"""`ratchet rates set|list` and `ratchet fees set|list`: what quotes are made of."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

import click

from cli._print import actor, json_option, rows
from cli._when import Length
from models.database import transaction
from models.money import InvalidAmount, to_minor, to_text
from payouts.prices import NewFee, list_fees, list_rates, plain, set_fee, set_rate
from payouts.refused import Refused
from payouts.treasury import By


@click.group()
def rates() -> None:
    """Keep the exchange rates that quotes are made of."""


@rates.command("set")
@click.argument("source")
@click.argument("target")
@click.argument("rate")
@click.option(
    "--minutes", type=Length(0, 60 * 24 * 366, min_open=True), help="After so long nothing is quoted from it."
)
@click.option("--reason", default="", help="Where it is from.")
def set_rate_(source: str, target: str, rate: str, *, minutes: float | None, reason: str) -> None:
    """Have one SOURCE buy RATE TARGET from now on: `EUR XOF 655.957`. The other way round is another rate."""
    by = By(actor(), reason, datetime.now(UTC))
    until = by.now + timedelta(minutes=minutes) if minutes else None
    try:
        with transaction() as session:
            set_rate(session, source.upper(), target.upper(), _decimal(rate, "RATE"), by, until)
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None


@rates.command("list")
@json_option
def list_rates_(*, as_json: bool) -> None:
    """Show the rates that count."""
    with transaction() as session:
        found = list_rates(session)
    values = [[r.source, r.target, plain(r.rate), r.set_at, r.set_by, r.expires_at] for r in found]
    columns = ("source", "target", "rate", "set_at", "set_by", "expires_at")
    rows("rates", columns, values, as_json=as_json, empty="no rates yet: `ratchet rates set`")


@click.group()
def fees() -> None:
    """Keep the fees that quotes are made of. Without one, an account is no route."""


@fees.command("set")
@click.argument("integration")
@click.argument("asset")
@click.option("--network", default="", help="Where an asset moves on several: tron, ethereum, …")
@click.option("--percent", default="0", show_default=True, help="Of what is sent.")
@click.option("--fixed", default="0", show_default=True, help="In the asset, on top.")
@click.option("--seconds", type=click.IntRange(1), required=True, help="From submission to arrival, as far as known.")
@click.option("--reason", default="")
def set_fee_(integration: str, asset: str, network: str, percent: str, fixed: str, seconds: int, reason: str) -> None:
    """Have sending ASSET by INTEGRATION cost so much from now on."""
    try:
        new = NewFee(
            integration=integration,
            asset=asset.upper(),
            network=network,
            percent=_decimal(percent, "--percent"),
            fixed_minor=to_minor(fixed, asset.upper()),
            estimated_seconds=seconds,
        )
        with transaction() as session:
            set_fee(session, new, By(actor(), reason, datetime.now(UTC)))
    except InvalidAmount as error:
        raise click.BadParameter(str(error), param_hint="--fixed") from None
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None


@fees.command("list")
@json_option
def list_fees_(*, as_json: bool) -> None:
    """Show every way of sending that has a price."""
    with transaction() as session:
        found = list_fees(session)
    values = [
        [
            slug,
            fee.asset,
            fee.network or None,
            plain(fee.percent),
            to_text(fee.fixed_minor, fee.asset),
            fee.estimated_seconds,
            fee.updated_at,
        ]
        for fee, slug in found
    ]
    columns = ("integration", "asset", "network", "percent", "fixed", "estimated_seconds", "updated_at")
    rows("fees", columns, values, as_json=as_json, empty="no fees yet: `ratchet fees set`")


def _decimal(text: str, where: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise click.BadParameter("not a decimal number", param_hint=where) from None
