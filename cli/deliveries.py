"""`ratchet deliveries list|show|redeliver|recover|recoveries`: what partners were sent, and how to mend it."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from cli._partners import list_options, refusals, seen
from cli._print import actor, cell, document, json_option, rows
from cli._when import WHEN
from models.database import transaction
from models.outbox import DeliveryState
from models.recovery import Recovery
from payouts.owed import DeliveryFilters, Owed, Particulars, find_delivery, list_deliveries
from payouts.recover import find_recovery, list_recoveries, progress, start
from payouts.redeliver import redeliver as owe_again
from payouts.reproduce import reproduced
from payouts.sight import EVERYTHING


@click.group()
def deliveries() -> None:
    """Look at what partners were sent, and mend it."""


@deliveries.command("list")
@click.option("--endpoint", "endpoint_id", help="Only this endpoint's.")
@click.option("--state", type=click.Choice([str(state) for state in DeliveryState]))
@click.option("--payout", "payout_id", help="Only about this payout.")
@click.option("--type", "event_type", help="payout.delivered, endpoint.ping, …")
@list_options
@json_option
def list_(
    *,
    endpoint_id: str | None,
    state: str | None,
    payout_id: str | None,
    event_type: str | None,
    as_json: bool,
    **which: Any,
) -> None:
    """List deliveries, newest first."""
    sight, stretch = seen("dlv", which)
    filters = DeliveryFilters(
        endpoint_id=endpoint_id,
        state=DeliveryState(state) if state else None,
        payout_id=payout_id,
        event_type=event_type,
    )
    with transaction() as session:
        found = list_deliveries(session, sight, filters, stretch)
    columns = ("id", "event", "type", "endpoint", "payout", "state", "attempts", "latest", "next_attempt_at")
    values = [
        [o.id, o.event_id, o.event_type, o.endpoint_id, o.payout_id, o.state, o.attempts, _latest(o), o.next_attempt_at]
        for o in found
    ]
    rows("deliveries", columns, values, as_json=as_json, empty="no deliveries")


@deliveries.command()
@click.argument("delivery_id", metavar="ID")
@json_option
def show(delivery_id: str, *, as_json: bool) -> None:
    """Show one delivery: its attempts, what was answered, and a command that sends the same event again."""
    with refusals(), transaction() as session:
        found = find_delivery(session, EVERYTHING, delivery_id)
    line = reproduced(found)
    if as_json:
        document({**asdict(found.owed), "tried": [asdict(one) for one in found.tried], "curl": line})
        return
    _print(found)
    if line:
        click.echo(f"\nTo send it by hand, with the endpoint's secret in WEBHOOK_SECRET:\n{line}")


@deliveries.command()
@click.argument("delivery_id", metavar="ID")
def redeliver(delivery_id: str) -> None:
    """Send the event of ID again: as a new delivery, or, if ID is still open, at once instead of later."""
    with refusals(), transaction() as session:
        made = owe_again(session, EVERYTHING, delivery_id, actor=actor(), now=datetime.now(UTC))
    click.echo(made.id)
    if not made.is_new:
        click.echo("it was still open; it has been brought forward", err=True)
    _send(made.deliveries)


@deliveries.command()
@click.argument("endpoint_id", metavar="ENDPOINT")
@click.option("--since", type=WHEN, required=True, help="30min, 2h, 3d, or 2026-05-12T09:15:00Z.")
def recover(endpoint_id: str, since: datetime) -> None:
    """Send ENDPOINT everything that died or was never owed to it since then. The reconciler works it off."""
    with refusals(), transaction() as session:
        started = start(session, EVERYTHING, endpoint_id, since, actor=actor(), now=datetime.now(UTC))
    click.echo(started.id)
    click.echo(f"see how far it is: ratchet deliveries recoveries {started.id}", err=True)


@deliveries.command()
@click.argument("recovery_id", metavar="[ID]", required=False)
@list_options
@json_option
def recoveries(recovery_id: str | None, *, as_json: bool, **which: Any) -> None:
    """List recoveries, newest first, or show one: how far each is."""
    sight, stretch = seen("rcv", which)
    with refusals(), transaction() as session:
        if recovery_id:
            found = [find_recovery(session, sight, recovery_id)]
        else:
            found = list_recoveries(session, sight, stretch)
    columns = ("id", "endpoint", "since", "state", "progress", "examined", "owed", "pruned", "created_at")
    values = [
        [r.id, r.endpoint_id, r.since, r.state, _percent(r), r.examined, r.owed, r.pruned, r.created_at] for r in found
    ]
    rows("recoveries", columns, values, as_json=as_json, empty="no recoveries")


def _percent(recovery: Recovery) -> str:
    return f"{int(100 * progress(recovery))} %"


def _send(ids: list[str]) -> None:
    from workers.broker import QueueAway
    from workers.deliver import send_deliver

    try:
        send_deliver(ids)
    except QueueAway:
        click.echo("the queue is away; the sweep sends it when it is back", err=True)


def _latest(owed: Owed) -> str | None:
    return str(owed.last_status_code) if owed.last_status_code else owed.last_error


def _print(found: Particulars) -> None:
    owed = found.owed
    click.echo(f"{owed.id}  {owed.event_type}  {owed.state}  to {owed.endpoint_id}")
    click.echo(f"event {owed.event_id}, payout {cell(owed.payout_id)}, sequence {owed.sequence}")
    if owed.redelivery_of or owed.recovery_id:
        click.echo(f"asked for: {owed.redelivery_of or owed.recovery_id}")
    columns = ("number", "started_at", "duration_ms", "outcome", "answered", "first_bytes")
    values = [
        [one.number, one.started_at, one.duration_ms, one.outcome, one.status_code or one.error, one.answer]
        for one in found.tried
    ]
    rows("attempts", columns, values, as_json=False, empty="not attempted yet")
    if owed.next_attempt_at:
        click.echo(f"next attempt at {cell(owed.next_attempt_at)}")
