"""Ask gateways about payouts. The answers go through the same door as webhooks."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import dramatiq
import structlog

from connectors._base import GatewayUnavailable, NotFound, PayoutUpdate
from models.database import transaction
from models.sealed import unseal
from payouts.ask import Answer, Question, learn, not_asked, questions
from payouts.integrations import Unusable
from payouts.observe import Observed
from telemetry import metrics
from workers.apply import queue_what_follows
from workers.broker import broker
from workers.outside import outside

QUEUE: Final = "poll"

_log = structlog.get_logger(__name__)


@dramatiq.actor(broker=broker, queue_name=QUEUE)
def poll(ids: list[str], leased_until: str | None = None) -> None:
    """Ask about these payouts of one integration. Returns before the gateway has answered.

    A message that waited for so long that its payouts were taken anew, or answered, is too late and asks nothing.
    """
    lease = datetime.fromisoformat(leased_until) if leased_until else None
    try:
        asked = _questions(ids, lease)
    except Unusable as error:
        _give_up(ids, lease, str(error))
    else:
        if asked:
            outside().start(asked[0].integration.id, _ask_in_turn(ids, lease))


def send_poll(ids: Sequence[str], leased_until: datetime) -> None:
    """Queue payouts of one integration that were taken. Raises one of `QueueAway` while Redis is away."""
    poll.send(list(ids), leased_until.isoformat())


def _give_up(ids: Sequence[str], lease: datetime | None, why: str) -> None:
    with transaction() as session:
        number = not_asked(session, ids, lease, why, datetime.now(UTC))
    metrics.POLLS.labels("unusable").inc(number)
    _log.error("payout.not_polled", payouts=number, error=why)


async def _ask_in_turn(ids: Sequence[str], lease: datetime | None) -> None:
    """Ask once the turn has come: behind a gateway that hangs, what waits may have been taken anew and asked about."""
    if asked := await asyncio.to_thread(_questions, ids, lease):
        await _ask(asked)


def _questions(ids: Sequence[str], lease: datetime | None) -> list[Question]:
    with transaction() as session:
        return questions(session, ids, lease)


async def _ask(asked: Sequence[Question]) -> None:
    answers = await asyncio.gather(*[_answer(question) for question in asked])
    observed = await asyncio.to_thread(_learn, list(zip(asked, answers, strict=True)))
    await asyncio.to_thread(queue_what_follows, observed)


async def _answer(question: Question) -> Answer:
    try:
        return await _call(question)
    except GatewayUnavailable as unavailable:
        return unavailable
    except Exception as error:  # noqa: BLE001 (one payout must not take the others of its batch along)
        _log.exception("poll.failed", payout=question.payout_id, integration=question.integration.slug)
        return GatewayUnavailable(type(error).__name__)


async def _call(question: Question) -> PayoutUpdate | NotFound:
    connector, http = question.integration.connector, outside().http
    if question.reference is None and question.memento:
        return await connector.recover(question.order_key, unseal(question.memento), datetime.now(UTC), http)
    return await connector.fetch(question.reference, question.order_key, http)


def _learn(answers: Sequence[tuple[Question, Answer]]) -> Observed:
    with transaction() as session:
        observed = learn(session, answers, datetime.now(UTC))
    for _, answer in answers:
        metrics.POLLS.labels(_outcome(answer)).inc()
    _log.info("payout.polled", payouts=len(answers), advanced=observed.advanced)
    return observed


def _outcome(answer: Answer) -> str:
    if isinstance(answer, GatewayUnavailable):
        return "unavailable"
    return "not_found" if isinstance(answer, NotFound) else "answered"
