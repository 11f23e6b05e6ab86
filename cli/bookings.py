"""`ratchet balances credit|charge|adjust|reserve`: money that operators move, each time with a reason."""

from collections.abc import Callable

import click
from sqlmodel import Session

from cli._rules import carried_out, minor
from models.balance import Balance
from models.money import to_text
from payouts import treasury
from payouts.treasury import By

reason_option = click.option("--reason", required=True, help="Why: it goes into the ledger and the audit trail.")


@click.command()
@click.argument("balance_id")
@click.argument("amount")
@reason_option
def credit(balance_id: str, amount: str, *, reason: str) -> None:
    """Book AMOUNT that came in from outside."""
    _book(treasury.credit, balance_id, amount, reason)


@click.command()
@click.argument("balance_id")
@click.argument("amount")
@reason_option
def charge(balance_id: str, amount: str, *, reason: str) -> None:
    """Book a fee of AMOUNT, even if nothing is left."""
    _book(treasury.charge, balance_id, amount, reason)


@click.command()
@click.argument("balance_id")
@click.argument("amount")
@click.option("--take/--give", "takes", required=True, help="Away from the organisation, or to it.")
@reason_option
def adjust(balance_id: str, amount: str, *, takes: bool, reason: str) -> None:
    """Book a correction or a chargeback of AMOUNT, even if nothing is left."""

    def move(session: Session, balance: str, amount_minor: int, by: By) -> None:
        treasury.adjust(session, balance, -amount_minor if takes else amount_minor, by)

    _book(move, balance_id, amount, reason)


@click.command("reserve")
@click.argument("balance_id")
@click.argument("amount")
@reason_option
def reserve_(balance_id: str, amount: str, *, reason: str) -> None:
    """Keep AMOUNT back from payouts: so much altogether, not so much more."""
    _book(treasury.keep_back, balance_id, amount, reason)


def _book(move: Callable[[Session, str, int, By], None], balance_id: str, amount: str, reason: str) -> None:
    def step(session: Session, by: By) -> Balance:
        move(session, balance_id, minor(session, balance_id, amount), by)
        balance = treasury.locked(session, balance_id)
        session.refresh(balance)
        return balance

    balance = carried_out(step, reason)
    click.echo(f"{balance.id} has {to_text(balance.available_minor, balance.currency)} {balance.currency} available")
