"""`ratchet events list|show`: what partners are told, word for word."""

import json
from typing import Any

import click

from cli._partners import list_options, refusals, seen
from cli._print import document, json_option, rows
from models.database import transaction
from payouts.events import EventFilters, find_event, list_events
from payouts.owed import DeliveryFilters, list_deliveries
from payouts.sight import EVERYTHING


@click.group()
def events() -> None:
    """Look at what happened, as partners are told."""


@events.command("list")
@click.option("--type", "type_", help="payout.delivered, endpoint.disabled, …")
@click.option("--payout", "payout_id", help="Only this payout's.")
@list_options
@json_option
def list_(*, type_: str | None, payout_id: str | None, as_json: bool, **which: Any) -> None:
    """List events, newest first."""
    sight, stretch = seen("evt", which)
    with transaction() as session:
        found = list_events(session, sight, EventFilters(type=type_, payout_id=payout_id), stretch)
    columns = ("id", "type", "payout", "sequence", "test_mode", "created_at")
    values = [[e.id, e.type, e.payout_id, e.sequence, e.test_mode, e.created_at] for e in found]
    rows("events", columns, values, as_json=as_json, empty="no events")


@events.command()
@click.argument("event_id", metavar="ID")
@json_option
def show(event_id: str, *, as_json: bool) -> None:
    """Show one event: the body that is sent for it, and to whom."""
    with refusals(), transaction() as session:
        event = find_event(session, EVERYTHING, event_id)
        owed = list_deliveries(session, EVERYTHING, DeliveryFilters(event_id=event_id))
    columns = ("id", "endpoint", "state", "attempts", "created_at", "next_attempt_at")
    values = [[o.id, o.endpoint_id, o.state, o.attempts, o.created_at, o.next_attempt_at] for o in owed]
    if as_json:
        facts = {"id": event.id, "type": event.type, "test_mode": event.test_mode, "created_at": event.created_at}
        deliveries = [dict(zip(columns, row, strict=True)) for row in values]
        document({**facts, "body": event.body, "deliveries": deliveries})
        return
    click.echo(f"{event.id}  {event.type}  {'test' if event.test_mode else 'live'}")
    click.echo(json.dumps(event.body, indent=2, ensure_ascii=False) if event.body else "its body is no longer kept")
    rows("deliveries", columns, values, as_json=False, empty="no endpoint was owed it")
