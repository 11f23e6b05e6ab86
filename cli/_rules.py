"""How commands carry out rules about money: in one transaction, by somebody, for a reason."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import click
from sqlmodel import Session

from cli._print import actor
from models.database import transaction
from models.money import InvalidAmount, to_minor
from payouts.refused import Refused
from payouts.treasury import By, locked

_Done = TypeVar("_Done")


def carried_out(step: Callable[[Session, By], _Done], reason: str = "") -> _Done:
    """Run a rule in a transaction, for whoever is at the terminal; a refusal becomes one line."""
    try:
        with transaction() as session:
            return step(session, By(actor(), reason, datetime.now(UTC)))
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None


def minor(session: Session, balance_id: str, amount: str) -> int:
    """Return an amount as it was typed, in minor units of a balance's currency."""
    balance = locked(session, balance_id)
    try:
        return to_minor(amount, balance.currency)
    except InvalidAmount as error:
        raise click.BadParameter(str(error), param_hint="AMOUNT") from None
