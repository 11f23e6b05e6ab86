"""`ratchet switches throw|lift|list|parked`."""

from datetime import UTC, datetime, timedelta

import click

from cli._print import actor, cell, json_option, rows
from cli._when import Length
from models.database import transaction
from models.money import to_text
from models.switch import Switch, SwitchScope
from payouts.parking import waiting
from payouts.refused import Refused
from payouts.switches import Thrown, history, holding, lift, throw

COLUMNS = ("id", "scope", "target", "reason", "thrown_by", "thrown_at", "until", "lifted_by", "lifted_at")


@click.group()
def switches() -> None:
    """Stop payouts at once, wholly or in part, and let them go on."""


@switches.command("throw")
@click.argument("scope", type=click.Choice([scope.value for scope in SwitchScope]))
@click.argument("target", required=False)
@click.option("--reason", required=True, help="Why: others will have to decide when to lift it.")
@click.option("--hours", type=Length(0, 24 * 366, min_open=True), help="It ends by itself after so long.")
def throw_(scope: str, target: str | None, *, reason: str, hours: float | None) -> None:
    """Stop payouts in SCOPE: everything, or gateway, integration, currency, partner with a TARGET.

    New payouts are refused with payouts_disabled; those not submitted yet are parked. What has left goes on: it is
    polled, its webhooks are applied, its partners are told.
    """
    now = datetime.now(UTC)
    until = now + timedelta(hours=hours) if hours else None
    try:
        with transaction() as session:
            thrown = throw(session, SwitchScope(scope), target, reason=reason, by=actor(), until=until, now=now)
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None
    _tell(thrown)


@switches.command("lift")
@click.argument("switch_id")
def lift_(switch_id: str) -> None:
    """Let payouts go on. What was parked is submitted within seconds, at the pace of polls."""
    try:
        with transaction() as session:
            _, woken = lift(session, switch_id, by=actor(), now=datetime.now(UTC))
            others = len(holding(session, datetime.now(UTC)))
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None
    click.echo(f"{switch_id} is lifted; {woken} parked payouts go on")
    if others:
        click.echo(f"{others} other switches still hold: `ratchet switches list`", err=True)


@switches.command("list")
@click.option("--all", "also_over", is_flag=True, help="Those that are over too.")
@json_option
def list_(*, also_over: bool, as_json: bool) -> None:
    """Show the switches that hold, the newest first."""
    with transaction() as session:
        found = history(session, 1_000) if also_over else holding(session, datetime.now(UTC))
    values = [[getattr(switch, column) for column in COLUMNS] for switch in found]
    rows("switches", COLUMNS, values, as_json=as_json, empty="no switch holds")


@switches.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
def parked(limit: int, *, as_json: bool) -> None:
    """Show the payouts that switches hold back, the oldest first."""
    with transaction() as session:
        found = waiting(session, holding(session, datetime.now(UTC)), limit)
    columns = ("payout", "organisation", "integration", "order_key", "amount", "currency", "created_at", "switches")
    values = [
        (
            each.id,
            each.organisation,
            each.integration,
            each.order_key,
            to_text(each.amount_minor, each.currency),
            each.currency,
            each.created_at,
            each.switches,
        )
        for each in found
    ]
    rows("parked", columns, values, as_json=as_json, empty="nothing is parked")


def _tell(thrown: Thrown) -> None:
    switch = thrown.switch
    click.echo(f"{switch.id}\nholds {_named(switch)}, {_end(switch)}; {thrown.parked} payouts are parked")
    if thrown.on_their_way:
        click.echo(f"already on their way, and not to be brought back: {', '.join(thrown.on_their_way)}", err=True)


def _named(switch: Switch) -> str:
    return f"{switch.scope} {switch.target}" if switch.target else switch.scope


def _end(switch: Switch) -> str:
    return f"until {cell(switch.until)}" if switch.until else f"until `ratchet switches lift {switch.id}`"
