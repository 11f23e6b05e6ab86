"""Where the money of one payout has to stand, given what is known of its fate: the whole rule, as one function.

The ledger books the difference between where it stands and where it has to. So an entry is owed to a change of state
and not to a message: told twice, or in another order, nothing is booked twice.
"""

from dataclasses import dataclass
from typing import Final

from models.lifecycle import IN_FLIGHT, PayoutStatus
from models.payout import SubmissionState

_NEVER_LEFT: Final = frozenset({SubmissionState.UNSENT, SubmissionState.REJECTED, SubmissionState.NOT_RECEIVED})


@dataclass(frozen=True, slots=True)
class Position:
    """How much of one payout's debit stands where; the rest is available. Minor units of the balance's currency."""

    held: int = 0
    out: int = 0
    fees: int = 0

    @property
    def taken(self) -> int:
        """All that is not available."""
        return self.held + self.out + self.fees


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What is known of one payout, as far as its money is concerned."""

    status: PayoutStatus
    submission: str
    is_disputed: bool
    debit_minor: int
    """What it costs, the fee included."""
    fee_minor: int
    amount_minor: int
    """What the gateway was told to pay, in the payout's own currency."""
    processed_amount_minor: int | None
    undoing_is_confirmed: bool
    """A poll, the answer to our own request or an operator said in this epoch that it failed, or came back."""
    part_is_confirmed: bool
    """Likewise that it was delivered and that `processed_amount_minor` is what has arrived; nothing else since."""


def position(fate: Fate) -> Position:
    """Return where the money has to stand.

    Money is taken on anybody's word. It is given back only when the gateway was asked or answered us directly, when it
    never had the payout, or when a person decided; and never while the evidence contradicts itself.
    """
    held = Position(held=fate.debit_minor)
    if fate.status is PayoutStatus.DELIVERED:
        return _delivered(fate)
    if fate.status is PayoutStatus.RETURNED:
        came_back = fate.undoing_is_confirmed and not fate.is_disputed
        return Position(fees=fate.fee_minor) if came_back else _all_out(fate)
    if fate.is_disputed:
        return held
    if fate.status in IN_FLIGHT:
        return Position() if fate.submission == SubmissionState.NOT_RECEIVED else held
    return Position() if fate.undoing_is_confirmed or fate.submission in _NEVER_LEFT else held


def _delivered(fate: Fate) -> Position:
    """A part may have arrived. The rest is held until somebody who was asked says that it is this part."""
    whole = _all_out(fate)
    if fate.processed_amount_minor is None or fate.processed_amount_minor >= fate.amount_minor:
        return whole
    out = -(-whole.out * fate.processed_amount_minor // fate.amount_minor)  # rounded up: rather too much taken
    is_certain = fate.part_is_confirmed and not fate.is_disputed
    return Position(held=0 if is_certain else whole.out - out, out=out, fees=fate.fee_minor)


def _all_out(fate: Fate) -> Position:
    return Position(out=fate.debit_minor - fate.fee_minor, fees=fate.fee_minor)
