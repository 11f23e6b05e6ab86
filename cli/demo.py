"""`ratchet demo`: the main job on real input, from nothing, judged by the sandbox and the partner, not by ourselves."""

import dataclasses
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.stage import CREDENTIALS, Stage, Verdict

LONGEST_SECONDS: Final = 180.0


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """What the demo has seen; the JSON of `--json`."""

    payouts: int
    webhooks_sent: int
    webhooks_accepted: int
    webhooks_refused: int
    duplicates: int
    lost: int
    disagreements: int
    polled: int
    stuck: int
    partner_events_expected: int
    partner_events_received: int
    partner_events_out_of_order: int
    seconds: float
    webhooks_dropped: int
    webhooks_forged: int
    partner_disagreements: int
    partner_bad_signatures: int
    partner_receiver_events: int
    """What the receiver kit has taken up, each once next in line. The rest is the score of the door before it."""
    partner_receiver_errors: int
    submitted_twice: int

    def checks(self) -> list[tuple[str, bool]]:
        """Return every claim of the summary and whether it holds."""
        return [
            ("every payout ends as its gateway says", self.disagreements == 0),
            ("no acknowledged webhook is lost", self.lost == 0),
            ("every forged webhook was refused, and nothing else", self.webhooks_refused == self.webhooks_forged),
            ("no payout was submitted twice", self.submitted_twice == 0),
            ("the partner got every event", self.partner_events_received == self.partner_events_expected),
            ("in order per payout", self.partner_events_out_of_order == 0),
            ("with valid signatures", self.partner_bad_signatures == 0),
            ("and ends with the same statuses", self.partner_disagreements == 0),
            ("its receiver took each event once", self.partner_receiver_events == self.partner_events_expected),
            ("and made no mistake", self.partner_receiver_errors == 0),
            ("nothing is stuck", self.stuck == 0),
        ]


@click.command()
@click.option("--payouts", "number", type=click.IntRange(1, 20_000), default=100, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed tells the same story.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, last.")
@click.option("--keep", is_flag=True, help="Keep the data folder and its logs.")
def demo(number: int, seed: int, *, as_json: bool, keep: bool) -> None:
    """Run the whole of it on embedded servers, against gateways that lose, repeat, shuffle and forge their webhooks.

    Exit status 0 only if every check of the summary holds.
    """
    folder = Path(tempfile.mkdtemp(prefix="ratchet-demo-"))
    folder.chmod(0o711)  # PostgreSQL's own user must get through when root runs this
    started = time.monotonic()
    with Stage(folder, seed) as stage:
        verdict = _play(stage, number, quiet=as_json)
        summary = _summary(number, verdict, _stuck(), time.monotonic() - started)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary)))
    else:
        _print(summary)
    failed = [claim for claim, holds in summary.checks() if not holds]
    for line in verdict.disagreements[:20]:
        click.echo(line, err=True)
    if failed or keep:
        click.echo(f"data and logs are kept in {folder}", err=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    if failed:
        raise click.exceptions.Exit(1)


def _play(stage: Stage, number: int, *, quiet: bool) -> Verdict:
    seconds = LONGEST_SECONDS + number / 20
    console = Console(stderr=quiet)
    console.print(
        f"{number} payouts at {len(CREDENTIALS)} sandbox gateways, seed {stage.seed}; logs in {stage.folder}/logs",
        soft_wrap=True,
    )
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        stage.create_payouts(number)
        return stage.wait_settled(seconds, on_progress=lambda verdict: live.update(_progress(verdict)))


def _progress(verdict: Verdict) -> Table:
    webhooks = verdict.stats["webhooks"]
    table = Table.grid(padding=(0, 2))
    payouts = "  ".join(f"{status} {n}" for status, n in sorted(verdict.by_status.items()))
    table.add_row("payouts", payouts or "–")
    table.add_row(
        "webhooks",
        f"sent {webhooks['sent']}  accepted {webhooks['accepted']}  repeated {webhooks['repeated']}"
        f"  forged {webhooks['forged_sent']}, refused {webhooks['forged_refused']}  dropped {webhooks['dropped']}",
    )
    table.add_row("inbox", "  ".join(f"{state} {n}" for state, n in sorted(verdict.inbox.items())) or "–")
    table.add_row(
        "partner",
        f"owed {verdict.events}  received {verdict.score['events']}  repeated {verdict.score['repeated']}"
        f"  refused by the partner {verdict.score['refused_on_purpose']}",
    )
    return table


def _summary(number: int, verdict: Verdict, stuck: int, seconds: float) -> Summary:
    webhooks: dict[str, Any] = verdict.stats["webhooks"]
    refused = sum(webhooks["refused"].values()) if isinstance(webhooks["refused"], dict) else webhooks["refused"]
    kept = sum(verdict.inbox.values())
    return Summary(
        payouts=number,
        webhooks_sent=webhooks["sent"] + webhooks["forged_sent"],
        webhooks_accepted=webhooks["accepted"],
        webhooks_refused=refused + webhooks["forged_refused"],
        duplicates=webhooks["accepted"] - kept,
        lost=max(0, webhooks["delivered"] - kept) + kept - verdict.inbox.get("applied", 0),
        disagreements=len(verdict.disagreements) + verdict.never_arrived,
        polled=verdict.polled,
        stuck=stuck,
        partner_events_expected=verdict.events,
        partner_events_received=verdict.score["events"],
        partner_events_out_of_order=verdict.score["out_of_order"],
        seconds=round(seconds, 1),
        webhooks_dropped=webhooks["dropped"],
        webhooks_forged=webhooks["forged_sent"],
        partner_disagreements=verdict.partner_disagreements,
        partner_bad_signatures=verdict.score["bad_signatures"],
        partner_receiver_events=sum(outcome == "taken" for outcome in verdict.kept.values()),
        partner_receiver_errors=verdict.score["disagreed"],
        submitted_twice=verdict.submitted_twice,
    )


def _stuck() -> int:
    from datetime import UTC, datetime

    from models.database import transaction
    from payouts.stuck import find_stuck

    with transaction() as session:
        return find_stuck(session, datetime.now(UTC)).total


def _print(summary: Summary) -> None:
    console = Console()
    table = Table(show_header=False, title="what happened", title_justify="left")
    for name, value in dataclasses.asdict(summary).items():
        table.add_row(name.replace("_", " "), str(value))
    console.print(table)
    for claim, holds in summary.checks():
        console.print(f"[green]✓[/] {claim}" if holds else f"[red]✗ {claim}[/]")
