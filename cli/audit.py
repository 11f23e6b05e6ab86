"""`ratchet audit list|verify|seal`."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from sqlmodel import col, select

from cli._print import cell, document, json_option, rows
from models.audit import AuditLine
from models.audit_chain import MOST, Head, head, seal
from models.audit_check import Verdict, verify
from models.database import transaction

COLUMNS = ("id", "recorded_at", "actor", "action", "entity", "before", "after", "request_id")


class NotedHead(click.ParamType[Head]):
    """`SEQUENCE:HASH`, as `verify` printed it."""

    name = "sequence:hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Head:
        """Parse it."""
        try:
            return Head.parse(value)
        except ValueError:
            self.fail("write it as `ratchet audit verify` printed it: 12:ab34…", param, ctx)


@click.group()
def audit() -> None:
    """Look at who did what, and prove that nothing of it was changed."""


@audit.command("list")
@click.option("--actor", help="Only theirs: operator:NAME, cli:USER, key:PREFIX, internal, system.")
@click.option("--action", help="Only this one, or all that begin so: `payout.`")
@click.option("--entity", help="Only what was done to this: a payout's id, integration:SLUG, …")
@click.option("--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Not older than this, in UTC.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_(
    actor: str | None, action: str | None, entity: str | None, since: datetime | None, limit: int, *, as_json: bool
) -> None:
    """Show audit lines, the newest first."""
    query = select(AuditLine).order_by(col(AuditLine.id).desc()).limit(limit)
    if actor:
        query = query.where(AuditLine.actor == actor)
    if action:
        query = query.where(col(AuditLine.action).startswith(action, autoescape=True))
    if entity:
        query = query.where(AuditLine.entity == entity)
    if since:
        query = query.where(AuditLine.recorded_at >= since.replace(tzinfo=UTC))
    with transaction() as session:
        values = [[getattr(line, column) for column in COLUMNS] for line in session.exec(query)]
    rows("audit", COLUMNS, values, as_json=as_json, empty="no audit lines")


@audit.command("verify")
@click.option("--head", "noted", type=NotedHead(), multiple=True, help="A head noted earlier; must be in the chain.")
@json_option
def verify_(noted: tuple[Head, ...], *, as_json: bool) -> None:
    """Walk the whole chain. Exit status 1 when anything was changed, removed, reordered, slipped in or cut off."""
    with transaction() as session:
        verdict = verify(session, noted)
    if as_json:
        told = {**asdict(verdict), "head": verdict.head and str(verdict.head), "ok": not verdict.findings}
        document(told)
    else:
        _tell(verdict)
    if verdict.findings:
        raise click.exceptions.Exit(1)


@audit.command("seal")
def seal_() -> None:
    """Chain every line that is not, wherever it is. The reconciler seals by itself; do this after a restore."""
    number = MOST
    while number == MOST:
        with transaction() as session:
            number = len(seal(session, datetime.now(UTC), everywhere=True))
            newest = head(session)
    click.echo(f"head {newest}" if newest else "nothing to seal yet")


def _tell(verdict: Verdict) -> None:
    for finding in verdict.findings:
        place = f"link {finding.sequence}" if finding.sequence else f"audit line {finding.audit_id}"
        click.echo(f"{click.style(finding.kind.upper(), fg='red', bold=True)}  {place}: {finding.detail}")
    click.echo(f"{verdict.lines} lines, {verdict.links} sealed, {verdict.unsealed} not yet", nl=False)
    click.echo(f" (since {cell(verdict.oldest_unsealed_at)})" if verdict.unsealed else "")
    if verdict.head:
        click.echo(f"head {verdict.head}")
        click.echo("Note the head where the database's owner cannot change it; --head checks it later.", err=True)
    if not verdict.findings:
        click.echo("the chain holds")
