"""`ratchet inbox list|reapply`: gateways' messages that were set aside. What is in them is never shown."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import click

from cli._partners import refusals
from cli._print import actor, json_option, rows
from models.database import transaction
from models.inbox import InboxState
from payouts.attention import FOR_PEOPLE
from payouts.reapply import reapply as apply_again
from payouts.reapply import reapply_all, waiting

COLUMNS: Final = ("id", "integration", "state", "detail", "received_at")
LARGEST_ID: Final = 2**63 - 1
MOST_AT_ONCE: Final = 1_000
"""Each leaves a line in the audit trail."""

STATE: Final = click.Choice([state.value for state in InboxState if state is not InboxState.APPLIED])


@click.group()
def inbox() -> None:
    """Look at messages of gateways that were set aside, and have them applied again."""


@inbox.command("list")
@click.option("--state", type=STATE, help="Only this state; by default all that wait for a person.")
@click.option("--integration", help="Only this slug.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_(state: str | None, integration: str | None, limit: int, *, as_json: bool) -> None:
    """Show messages, the newest first: whose, what became of them, and why."""
    states = [InboxState(state)] if state else FOR_PEOPLE
    with transaction() as session:
        found = waiting(session, states, integration, limit)
    rows("inbox", COLUMNS, found, as_json=as_json, empty="no such events")


@inbox.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(1, LARGEST_ID))
@click.option("--state", type=STATE, help="The oldest of this state, instead of IDs.")
@click.option("--limit", type=click.IntRange(1, MOST_AT_ONCE), default=100, show_default=True, help="With --state.")
def reapply(ids: tuple[int, ...], state: str | None, limit: int) -> None:
    """Have messages applied again that were set aside, once what was wrong with us is mended."""
    if bool(ids) == bool(state):
        raise click.UsageError("say which: either IDs, or --state")
    by, now = actor(), datetime.now(UTC)
    with refusals(), transaction() as session:
        if state:
            done = reapply_all(session, InboxState(state), limit, by=by, now=now)
        else:
            done = apply_again(session, ids, by=by, now=now)
    for event_id in done:
        click.echo(event_id)
    if state and len(done) == limit:
        click.echo("there may be more: run it again once these are applied", err=True)
    if not done:
        click.echo("no such events", err=True)
    _send(done)


def _send(ids: Sequence[int]) -> None:
    from workers.apply import send_apply
    from workers.broker import QueueAway

    try:
        send_apply(ids)
    except QueueAway:
        click.echo("the queue is away; the sweep takes them when it is back", err=True)
