"""Schedule the payouts of balances that are paid out by themselves."""

from datetime import UTC, datetime

import structlog

from models.database import transaction
from payouts.create import Created
from payouts.refused import Refused
from payouts.transfers import due_balances, transfer
from workers.deliver import send_deliver

_log = structlog.get_logger(__name__)


def transfer_balances() -> None:
    """Take each balance in a transaction of its own: one that is refused holds up none of the others."""
    now = datetime.now(UTC)
    with transaction() as session:
        due = due_balances(session, now)
    for balance_id in due:
        with transaction() as session:
            outcome = transfer(session, balance_id, now)
        if isinstance(outcome, Refused):
            _log.info("transfer.refused", balance=balance_id, code=outcome.code)
        elif isinstance(outcome, Created):
            _log.info("transfer.scheduled", balance=balance_id, payout=outcome.id)
            send_deliver(outcome.deliveries)
