"""`ratchet stuck`: the stuck-payout report in a terminal."""

from datetime import UTC, datetime, timedelta

import click

from cli._partners import refusals
from cli._print import document, json_option, rows
from models.database import transaction
from models.lifecycle import PayoutStatus
from payouts.attention import Attention, read_attention
from payouts.narrowing import narrowed_by
from payouts.reasons import StuckReason
from payouts.report import StuckReport
from payouts.stuck import find_stuck


@click.command()
@click.option("--gateway", help="Only this connector.")
@click.option("--integration", help="Only this slug.")
@click.option("--status", type=click.Choice([str(status) for status in PayoutStatus]), help="Only this status.")
@click.option("--reason", type=click.Choice([str(reason) for reason in StuckReason]), help="Only this reason.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def stuck(
    gateway: str | None, integration: str | None, status: str | None, reason: str | None, limit: int, *, as_json: bool
) -> None:
    """List payouts in flight and silent for longer than normal, oldest first, and what else needs a person."""
    asked = {"gateway": gateway, "integration": integration, "status": status, "reason": reason}
    now = datetime.now(UTC)
    with refusals(), transaction() as session:
        report = find_stuck(session, now, narrowed_by(session, asked), limit)
        attention = read_attention(session, now)
    if as_json:
        document({"stuck": [payout.document() for payout in report.stuck], "total": report.total, "as_of": now})
        return
    _print(report)
    for line in _worries(attention):
        click.echo(line, err=True)


def _print(report: StuckReport) -> None:
    columns = ("payout", "gateway", "status", "age", "amount", "reason", "last_evidence", "polls", "next_poll")
    values = [
        (
            payout.id,
            payout.integration,
            payout.status,
            age(payout.age),
            f"{payout.amount} {payout.currency}",
            payout.reason,
            f"{payout.last_evidence_source or 'none'} {_when(payout.last_evidence_at, report.as_of)}",
            payout.polls,
            _when(payout.next_poll_at, report.as_of),
        )
        for payout in report.stuck
    ]
    title = f"{report.total} stuck" + (f", {len(values)} shown" if len(values) < report.total else "")
    rows(title, columns, values, as_json=False, empty="nothing is stuck")
    for reason, number in report.by_reason.items():
        click.echo(f"{number:>6}  {reason}: {reason.meaning}")


def _worries(attention: Attention) -> list[str]:
    lines = [f"inbox: {number} {state} events need a person" for state, number in attention.inbox.items() if number]
    lines += [
        f"payouts are switched off: {switch.scope} {switch.target or ''}".rstrip() for switch in attention.switches
    ]
    lines += [f"the books do not agree: {violation}" for violation in attention.books.violations]
    lines += [f"{payout}: it is over, and its money waits for a person's word" for payout in attention.books.waiting]
    if attention.dead_deliveries:
        lines.append(f"{attention.dead_deliveries} deliveries are dead: nobody tries any more")
    lines += [f"{slug} has no webhook secret: its webhooks are refused with 403" for slug in attention.without_secret]
    for one in attention.endpoints:
        why = f"switched off: {one.disabled_reason}" if one.disabled_reason else "paused: it fails"
        lines.append(f"{one.organisation}'s endpoint {one.id} at {one.host} is {why}")
    lines += [f"{slug} is not polled until {until:%H:%M:%SZ}: its gateway said so" for slug, until in attention.paused]
    return lines


def age(length: timedelta) -> str:
    """Return a length of time in its two largest units."""
    minutes = int(length.total_seconds() // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes % 60}min" if hours else f"{minutes}min"


def _when(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "–"
    return f"in {age(moment - now)}" if moment > now else f"{age(now - moment)} ago"
