"""When a payout is expected: derived from how far it is whenever somebody asks, so that it moves as the payout does.

The gateway knows best, as long as it has not been proven wrong. Else a route's seconds count, from the moment it left.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row

from models.lifecycle import PayoutStatus
from models.payout import Payout
from payouts.standing import Standing

_STEPS: Final = 3
_STEPS_AHEAD: Final = {
    PayoutStatus.PENDING: 3,
    PayoutStatus.SCHEDULED: 3,
    PayoutStatus.INITIATED: 2,
    PayoutStatus.BROADCAST: 1,
}
"""Of initiated, broadcast and delivered; an even share of the way each, because nobody says more of a route."""


def expected_at(payout: Payout | Standing | Row[Any]) -> datetime | None:
    """Return when a payout should arrive; None once it is over, or where nobody has said anything.

    It is never brought forward because the first steps were quick. After slow ones, the steps that are still to come
    take at least their share. In the past it says that the payout is late.
    """
    if payout.status not in _STEPS_AHEAD:
        return None
    said: datetime | None = payout.estimated_delivery_at
    if payout.route_seconds is None or (said is not None and said > payout.advanced_at):
        return said
    whole = timedelta(seconds=payout.route_seconds)
    left_at: datetime = payout.submitted_at or payout.scheduled_at or payout.created_at
    still: timedelta = whole * _STEPS_AHEAD[PayoutStatus(payout.status)] / _STEPS
    moved_at: datetime = payout.advanced_at
    return max(left_at + whole, moved_at + still)
