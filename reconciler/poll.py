"""Find the payouts whose next poll is due and queue them: to be asked about, or still to be submitted."""

from datetime import UTC, datetime
from typing import Final

from models.database import transaction
from payouts.ask import LEASE, take_due
from settings import settings
from workers import poll, submit
from workers.broker import backlog

EVERY_SECONDS: Final = 1.0
LARGEST_MESSAGE: Final = 20
LONGEST_BACKLOG: Final = 20
"""Messages. What is taken while workers have this much to do would only be taken again before they come to it."""


def poll_due() -> None:
    """Queue what is due, for each integration no more than it may be asked in the time until the next run.

    Nothing is taken while polls pile up, nor what is to be submitted while submissions do: doors queue those as well.
    """
    if backlog(poll.QUEUE) > LONGEST_BACKLOG:
        return
    now, may_submit = datetime.now(UTC), backlog(submit.QUEUE) <= LONGEST_BACKLOG
    most = max(1, int(settings().polls_per_second * EVERY_SECONDS))
    with transaction() as session:
        due = take_due(session, now, most, may_submit=may_submit)
    for payout_id in due.to_submit:
        submit.send_submit(payout_id, now + LEASE)
    for ids in due.to_ask.values():
        for start in range(0, len(ids), LARGEST_MESSAGE):
            poll.send_poll(ids[start : start + LARGEST_MESSAGE], now + LEASE)
