"""Find the payouts whose next poll is due and queue them: to be asked about, or still to be submitted."""

from datetime import UTC, datetime
from typing import Final

from models.database import transaction
from payouts.ask import take_due
from settings import settings
from workers.poll import send_poll
from workers.submit import send_submit

EVERY_SECONDS: Final = 1.0
LARGEST_MESSAGE: Final = 20


def poll_due() -> None:
    """Queue what is due, for each integration no more than it may be asked in the time until the next run."""
    most = max(1, int(settings().polls_per_second * EVERY_SECONDS))
    with transaction() as session:
        due = take_due(session, datetime.now(UTC), most)
    for payout_id in due.to_submit:
        send_submit(payout_id)
    for ids in due.to_ask.values():
        for start in range(0, len(ids), LARGEST_MESSAGE):
            send_poll(ids[start : start + LARGEST_MESSAGE])
