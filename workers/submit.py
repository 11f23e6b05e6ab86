"""Hand payouts over to their gateways."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import dramatiq
import structlog

from connectors._base import GatewayUnavailable, Memento, OutcomeUnknown, Rejected, Submission
from models.database import transaction
from payouts.observe import Observed
from payouts.submit import HandOver, begin, conclude, conclude_unknown, conclude_unsent, unsent
from workers.apply import queue_what_follows
from workers.broker import broker
from workers.outside import outside

QUEUE: Final = "submit"
LARGEST_MESSAGE: Final = 8
"""So that several workers have a share of what is created at once."""

_in_line: Final[set[str]] = set()
"""Who waits for a turn here: what is found due again meanwhile, as it is every half minute, lines up once."""

_log = structlog.get_logger(__name__)


@dramatiq.actor(broker=broker, queue_name=QUEUE)
def submit(payout_id: str, leased_until: str | None = None) -> None:
    """Submit one payout in its turn. Returns at once.

    A message that waited until its payout was taken anew, or tried, is too late and submits nothing.
    """
    _line_up([payout_id], datetime.fromisoformat(leased_until) if leased_until else None)


@dramatiq.actor(broker=broker, queue_name=QUEUE)
def submit_each(payout_ids: list[str]) -> None:
    """Submit payouts one by one, each in its turn. One that stumbles keeps no other from leaving."""
    _line_up(payout_ids)


def send_submits(payout_ids: Sequence[str]) -> None:
    """Queue unsent payouts. Raises one of `QueueAway` while Redis is away."""
    for start in range(0, len(payout_ids), LARGEST_MESSAGE):
        submit_each.send(list(payout_ids[start : start + LARGEST_MESSAGE]))


def send_submit(payout_id: str, leased_until: datetime | None = None) -> None:
    """Queue one unsent payout; if it was taken, with its lease. Raises one of `QueueAway` while Redis is away."""
    submit.send(payout_id, leased_until.isoformat() if leased_until else None)


def _line_up(payout_ids: Sequence[str], leased_until: datetime | None = None) -> None:
    """Have unsent payouts wait for their turn: nothing is marked before, for a line may be longer than any window."""
    with transaction() as session:
        waiting = unsent(session, [each for each in payout_ids if each not in _in_line], leased_until)
    line = outside()  # made first: what is marked as waiting in a line that cannot be made would wait for ever
    for payout_id, integration_id in waiting:
        _in_line.add(payout_id)
        line.start(integration_id, _hand_over(payout_id))


async def _hand_over(payout_id: str) -> None:
    """Submit a payout whose turn has come. `sending` is committed just before the request that pays leaves."""
    _in_line.discard(payout_id)
    if hand_over := await asyncio.to_thread(_begin, payout_id):
        await (_submit(hand_over) if hand_over.begun_at else _prepare(hand_over))


async def _prepare(hand_over: HandOver) -> None:
    """Do what moves nothing, commit it together with `sending`, and go on. A crash in between leaves it unsent."""
    try:
        prepared = await hand_over.integration.connector.prepare(hand_over.order, outside().http)
    except GatewayUnavailable as unavailable:
        await asyncio.to_thread(_postpone, hand_over, str(unavailable))
    except Exception as error:  # noqa: BLE001 (whatever happened, nothing has moved)
        _log.exception("payout.preparation_stumbled", payout=hand_over.payout_id)
        await asyncio.to_thread(_postpone, hand_over, type(error).__name__)
    else:
        if isinstance(prepared, Rejected):
            await asyncio.to_thread(_turn_down, hand_over, prepared)
        elif begun := await asyncio.to_thread(_begin, hand_over.payout_id, prepared):
            await _submit(begun)


def _begin(payout_id: str, prepared: Memento | None = None) -> HandOver | None:
    with transaction() as session:
        return begin(session, payout_id, datetime.now(UTC), prepared)


def _postpone(hand_over: HandOver, reason: str) -> None:
    _log.warning("payout.not_prepared", payout=hand_over.payout_id, detail=reason)
    now = datetime.now(UTC)
    with transaction() as session:  # begun and undone: if it is somebody else's by now, it is not ours to put off
        if begun := begin(session, hand_over.payout_id, now, {}):
            conclude_unsent(session, begun, f"unavailable: {reason}", now)


def _turn_down(hand_over: HandOver, refusal: Rejected) -> None:
    now = datetime.now(UTC)
    with transaction() as session:
        begun = begin(session, hand_over.payout_id, now, {})
        observed = conclude(session, begun, refusal, now) if begun else Observed()
    queue_what_follows(observed)


async def _submit(hand_over: HandOver) -> None:
    try:
        reply = await hand_over.integration.connector.submit(hand_over.order, outside().http)
    except OutcomeUnknown as outcome:
        _log.warning("payout.outcome_unknown", payout=hand_over.payout_id, detail=str(outcome))
        await asyncio.to_thread(_unknown, hand_over, outcome)
    except GatewayUnavailable as unavailable:
        _log.warning("payout.not_sent", payout=hand_over.payout_id, detail=str(unavailable))
        await asyncio.to_thread(_unsent, hand_over, str(unavailable))
    except Exception as error:  # noqa: BLE001 (whatever happened, the request may have left)
        _log.exception("payout.submission_stumbled", payout=hand_over.payout_id)
        await asyncio.to_thread(_unknown, hand_over, OutcomeUnknown(type(error).__name__))
    else:
        observed = await asyncio.to_thread(_conclude, hand_over, reply)
        await asyncio.to_thread(queue_what_follows, observed)


def _conclude(hand_over: HandOver, reply: Submission) -> Observed:
    with transaction() as session:
        return conclude(session, hand_over, reply, datetime.now(UTC))


def _unknown(hand_over: HandOver, outcome: OutcomeUnknown) -> None:
    with transaction() as session:
        conclude_unknown(session, hand_over, outcome, datetime.now(UTC))


def _unsent(hand_over: HandOver, reason: str) -> None:
    with transaction() as session:
        conclude_unsent(session, hand_over, f"unavailable: {reason}", datetime.now(UTC))
