"""`ratchet payouts add|cancel|show`."""

from datetime import UTC, datetime
from typing import Any

import click

from cli._json import JSON_OBJECT
from cli._print import actor, cell, document, json_option, rows
from models.database import transaction
from models.money import InvalidAmount, to_minor
from models.payout import Source
from payouts.cancel import Wish
from payouts.create import Created, NewPayout, Refused, create
from payouts.timeline import Attempted, Owed, Said, Timeline, timeline


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
@click.option(
    "--details",
    type=JSON_OBJECT,
    default="{}",
    help="JSON: what the gateway needs beyond the amount (beneficiary, mode).",
)
def add(
    integration: str,
    organisation: str,
    amount: str,
    currency: str,
    *,
    order_key: str,
    reference: str | None,
    description: str,
    details: dict[str, Any],
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
            details=details,
        )
        with transaction() as session:
            created = create(session, new, datetime.now(UTC), actor=actor())
    except InvalidAmount as error:
        raise click.BadParameter(str(error), param_hint="AMOUNT CURRENCY") from None
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None
    click.echo(created.id)
    _enqueue(created, is_unsent=reference is None)


@payouts.command()
@click.argument("payout_id")
def cancel(payout_id: str) -> None:
    """Call a payout off: at once while it has not left, at its gateway where that still can."""
    from workers.cancel import cancel as call_off

    try:
        call_off(payout_id, Wish(Source.OPERATOR, actor()))
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None
    click.echo(f"{payout_id} is canceled")


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


def _enqueue(created: Created, *, is_unsent: bool) -> None:
    from workers.apply import send_apply
    from workers.broker import QueueAway
    from workers.deliver import send_deliver
    from workers.submit import send_submit

    try:
        send_deliver(created.deliveries)
        send_apply(created.released)
        if is_unsent:
            send_submit(created.id)
    except QueueAway:
        click.echo("the queue is away; the reconciler will take it up", err=True)


def _print(found: Timeline) -> None:
    """Print the facts, then everything that happened, in the order in which it happened here."""
    facts = found.payout
    click.echo(f"{facts.id}  {facts.status}  {facts.amount} {facts.currency}  {facts.integration}  {facts.order_key}")
    click.echo(f"submission {facts.submission}, polls {facts.polls}, next poll {cell(facts.next_poll_at)}")
    if facts.is_disputed:
        click.echo(f"disputed: {facts.dispute}")
    if facts.failure_code:
        click.echo(f"failure: {facts.failure_code} {facts.failure_message or ''}")
    steps = [
        *((said.recorded_at, f"{said.source} said", _said(said)) for said in found.observations),
        *(
            (event.created_at, "event", f"{event.sequence}: {event.previous_status or 'born'} → {event.status}")
            for event in found.events
        ),
        *(
            (
                attempt.started_at,
                "attempt",
                _tried(owed, attempt),
            )
            for owed in found.deliveries
            for attempt in owed.attempts
        ),
    ]
    values = sorted(steps, key=lambda step: step[0])
    rows("timeline", ("at", "what", "evidence"), values, as_json=False, empty="nothing happened yet")
    waiting = [owed for owed in found.deliveries if owed.state == "open"]
    if waiting:
        click.echo(f"{len(waiting)} deliveries open, the next at {cell(min(owed.next_attempt_at for owed in waiting))}")


def _tried(owed: Owed, attempt: Attempted) -> str:
    answer = attempt.status_code or attempt.error or ""
    return f"{owed.host}: event {owed.sequence}, try {attempt.number}, {attempt.outcome} {answer}".rstrip()


def _said(said: Said) -> str:
    event = f", inbox event {said.inbox_event_id}" if said.inbox_event_id else ""
    note = f", {said.note}" if said.note else ""
    return f"{said.said!r} = {said.status or 'ask'} ({said.effect}{note}{event}; their clock {cell(said.occurred_at)})"
