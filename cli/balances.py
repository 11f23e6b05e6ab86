"""`ratchet balances open|list|show|set|prove`: what organisations have with us."""

from datetime import UTC, datetime
from typing import Any

import click
from sqlmodel import Session, col, select

from cli._print import document, json_option, rows
from cli._rules import carried_out, minor
from models.balance import Balance, BalanceStatus, Frequency, LedgerEntry
from models.database import transaction
from models.money import to_text
from models.organisation import Organisation
from payouts import treasury
from payouts.books import prove
from payouts.transfers import set_frequency
from payouts.treasury import By


@click.group()
def balances() -> None:
    """Keep what organisations have with us."""


@balances.command("open")
@click.argument("organisation")
@click.argument("currency")
@click.option("--live/--test", "is_live", default=False, help="Whether money moves. Test by default.")
def open_(organisation: str, currency: str, *, is_live: bool) -> None:
    """Give ORGANISATION a balance in CURRENCY. From then on it pays out only what it has paid in."""

    def step(session: Session, by: By) -> Balance:
        return treasury.open_balance(session, organisation, currency.upper(), test_mode=not is_live, by=by)

    click.echo(carried_out(step).id)


@balances.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """Show every balance."""
    with transaction() as session:
        found = session.exec(
            select(Balance, Organisation.name)
            .join(Organisation, col(Organisation.id) == Balance.organisation_id)
            .order_by(Organisation.name, col(Balance.test_mode), Balance.currency)
        ).all()
    columns = ("id", "organisation", "mode", "currency", "status", "available", "held", "reserve", "balance", "blocked")
    values = [
        [
            balance.id,
            name,
            "test" if balance.test_mode else "live",
            balance.currency,
            balance.status,
            *(
                to_text(amount, balance.currency)
                for amount in (
                    balance.available_minor,
                    balance.held_minor,
                    balance.reserve_minor,
                    balance.balance_minor,
                )
            ),
            balance.payouts_blocked,
        ]
        for balance, name in found
    ]
    rows("balances", columns, values, as_json=as_json, empty="no balances yet: `ratchet balances open`")


@balances.command()
@click.argument("balance_id")
@click.option("--entries", type=click.IntRange(0, 10_000), default=20, show_default=True, help="The newest so many.")
@json_option
def show(balance_id: str, *, entries: int, as_json: bool) -> None:
    """Show a balance and its ledger, the newest entries first."""
    with transaction() as session:
        balance = session.get(Balance, balance_id)
        newest = select(LedgerEntry).where(LedgerEntry.balance_id == balance_id)
        newest = newest.order_by(col(LedgerEntry.transaction_id).desc(), col(LedgerEntry.id))
        found = session.exec(newest.limit(entries)).all()
    if balance is None:
        raise click.ClickException(f"no balance {balance_id!r}; `ratchet balances list` shows them")
    facts = _facts(balance)
    columns = ("created_at", "transaction", "kind", "account", "amount", "payout", "note")
    values = [
        [
            e.created_at,
            e.transaction_id,
            e.kind,
            e.account,
            to_text(e.amount_minor, balance.currency),
            e.payout_id,
            e.note,
        ]
        for e in found
    ]
    if as_json:
        document({**facts, "entries": [dict(zip(columns, row, strict=True)) for row in values]})
        return
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' ')}: {value if value is not None else '–'}")
    rows("ledger", columns, values, as_json=False, empty="no entries")


@balances.command("set")
@click.argument("balance_id")
@click.option("--active/--inactive", "is_active", default=None, help="Whether payouts may leave it.")
@click.option("--block", metavar="WHY", help="Let nothing leave it. The partner is told why, in these words.")
@click.option("--unblock", is_flag=True, help="Let payouts leave it again.")
@click.option("--threshold", metavar="AMOUNT", help="Further below zero, nothing of the organisation is paid out.")
@click.option("--queued-refunds", type=click.IntRange(0), help="How many refunds wait for money.")
@click.option("--frequency", type=click.Choice([str(word) for word in Frequency]), help="How often it pays out itself.")
@click.option("--reason", default="", help="Why: it goes into the audit trail.")
def set_(
    balance_id: str,
    *,
    is_active: bool | None,
    block: str | None,
    unblock: bool,
    threshold: str | None,
    queued_refunds: int | None,
    frequency: str | None,
    reason: str,
) -> None:
    """Change what is asked of a balance."""
    terms: dict[str, Any] = {}
    if is_active is not None:
        terms["status"] = BalanceStatus.ACTIVE if is_active else BalanceStatus.INACTIVE
    if block is not None or unblock:
        terms["payouts_blocked"] = None if unblock else block
    if queued_refunds is not None:
        terms["queued_refunds"] = queued_refunds
    if not terms and threshold is None and frequency is None:
        raise click.UsageError("nothing to change; see --help")

    def step(session: Session, by: By) -> None:
        if threshold is not None:
            terms["negative_threshold_minor"] = minor(session, balance_id, threshold)
        if frequency is not None:
            set_frequency(session, balance_id, Frequency(frequency), by)
        if terms:
            treasury.set_terms(session, balance_id, terms, by)

    carried_out(step, reason)


@balances.command("prove")
@json_option
def prove_(*, as_json: bool) -> None:
    """Prove the books now: entries sum to zero, balances equal their entries, holds equal open payouts."""
    with transaction() as session:
        proof = prove(session, datetime.now(UTC))
    if as_json:
        document({"violations": proof.violations, "waiting": proof.waiting})
    else:
        for line in (
            *proof.violations,
            *(f"{payout} is over; its money waits for a person" for payout in proof.waiting),
        ):
            click.echo(line)
        click.echo("the books do not agree" if proof.violations else "the books agree")
    if proof.violations:
        raise click.exceptions.Exit(1)


def _facts(balance: Balance) -> dict[str, Any]:
    amounts = {
        "available": balance.available_minor,
        "held": balance.held_minor,
        "reserve": balance.reserve_minor,
        "balance": balance.balance_minor,
        "negative_threshold": balance.negative_threshold_minor,
    }
    return {
        "id": balance.id,
        "organisation_id": balance.organisation_id,
        "mode": "test" if balance.test_mode else "live",
        "currency": balance.currency,
        "status": balance.status,
        **{name: to_text(amount, balance.currency) for name, amount in amounts.items()},
        "payouts_blocked": balance.payouts_blocked,
        "queued_refunds": balance.queued_refunds,
        "transfer_frequency": balance.transfer_frequency,
        "next_transfer_at": balance.next_transfer_at,
        "destination": balance.destination_label,
    }
