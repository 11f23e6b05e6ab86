"""What is told of a payout beside its status: what has arrived, what it costs, why it failed, when it is expected.

A status is joined, so no order matters to it. A fact is replaced, so here the gateway's clock decides: the newest word
stands, and an older one fills only what nobody has told.

Where the clock decides nothing (equal times, or none), the word that came last stands. But what has arrived moves
money, and must not depend on that: there the lattice decides (a word that advances the status is newer, one below it
older), and of words with one status the larger amount stands, unless somebody who was asked says less.
"""

from connectors._base import PayoutUpdate
from models.payout import ASKED, Source
from payouts.standing import Standing


def keep(standing: Standing, update: PayoutUpdate, source: Source, *, advances: bool) -> None:
    """Take the facts of an update. `advances` says whether its status is news; it is not joined yet."""
    at, since = update.occurred_at, standing.occurred_at
    is_older = at is not None and since is not None and at < since
    older, newer = (update, standing) if is_older else (standing, update)
    if update.costs:
        standing.costs = {**(older.costs or {}), **(newer.costs or {})}
    standing.failure_code = newer.failure_code or older.failure_code
    standing.failure_message = newer.failure_message or older.failure_message
    standing.estimated_delivery_at = newer.estimated_delivery_at or older.estimated_delivery_at
    arrived = update.processed_amount_minor
    if arrived is not None and _has_arrived(arrived, standing, update, source, advances=advances):
        standing.processed_amount_minor = arrived
        standing.occurred_at = since if is_older else at or since


def _has_arrived(arrived: int, standing: Standing, update: PayoutUpdate, source: Source, *, advances: bool) -> bool:
    """Say whether this amount is to stand. Zero is news too: it came back whole."""
    told, at, since = standing.processed_amount_minor, update.occurred_at, standing.occurred_at
    if told is None:
        return True
    if at and since and at != since:
        return at > since
    return advances or (update.status is standing.status and (source in ASKED or arrived > told))
