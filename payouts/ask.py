"""Ask gateways about payouts whose next poll is due, and learn from what they answer, or from their silence."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from connectors._base import GatewayUnavailable, NotFound, PayoutUpdate
from models.integration import Integration
from models.lifecycle import IN_FLIGHT
from models.payout import Payout, Source, SubmissionState
from payouts.integrations import Connected, connected
from payouts.ledger import follow, take_locks
from payouts.observe import Evidence, Observed, observe
from payouts.polling import LONGEST_FAILURE, next_poll_at
from payouts.standing import Standing, lock, write

LEASE: Final = timedelta(seconds=30)
"""How long a payout that was taken is nobody else's to ask about; then it is simply due again."""

LONGEST_CALL: Final = timedelta(minutes=1)
"""A submission's own requests have ended, or have been given up, by then (connectors/_http.py)."""

Answer = PayoutUpdate | NotFound | GatewayUnavailable

_UNCONFIRMED: Final = (SubmissionState.SENDING, SubmissionState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Question:
    """One payout to ask its gateway about."""

    payout_id: str
    integration: Connected = field(repr=False)
    reference: str | None
    order_key: str
    is_unconfirmed: bool
    """We do not know whether the gateway ever had it."""
    submitted_at: datetime | None
    memento: bytes | None = field(default=None, repr=False)
    """Sealed: what was prepared for its submission."""

    def was_never_received(self, now: datetime) -> bool:
        """Tell whether absence at the gateway has become a statement: the visibility window is over."""
        window = self.integration.connector.visibility_window
        return self.is_unconfirmed and self.submitted_at is not None and now - self.submitted_at > window


@dataclass(frozen=True, slots=True)
class Due:
    """What to do now: payouts to ask about, per integration, and payouts still to be submitted."""

    to_ask: dict[int, list[str]]
    to_submit: list[str]


def take_due(session: Session, now: datetime, most_per_integration: int, *, may_submit: bool = True) -> Due:
    """Take what is due, at most so many per integration, and keep others from taking it for a while."""
    due = Due({}, [])
    parameters = {"now": now, "lease": now + LEASE, "most": most_per_integration, "may_submit": may_submit}
    for payout_id, integration_id, submission, status in session.connection().execute(_TAKE, parameters):
        if submission == SubmissionState.UNSENT and status in IN_FLIGHT:
            due.to_submit.append(payout_id)
        else:
            due.to_ask.setdefault(integration_id, []).append(payout_id)
    return due


def questions(session: Session, ids: Sequence[str], leased_until: datetime | None = None) -> list[Question]:
    """Read what is needed to ask about these payouts; of those that were taken, about those that are leased still.

    What has another next poll by now was taken anew, answered or hinted at, and whoever did that has it asked about.
    Raises one of `Unusable` when an integration cannot be opened: then it is a case for `not_asked`.
    """
    found = select(Payout).where(col(Payout.id).in_(ids))
    if leased_until:
        found = found.where(Payout.next_poll_at == leased_until)
    payouts = session.exec(found).all()
    integrations = connected(session, {payout.integration_id for payout in payouts})
    return [
        Question(
            payout.id,
            integrations[payout.integration_id],
            payout.gateway_reference,
            payout.order_key,
            payout.submission in _UNCONFIRMED,
            payout.submitted_at,
            payout.memento,
        )
        for payout in payouts
    ]


def learn(session: Session, answers: Sequence[tuple[Question, Answer]], now: datetime) -> Observed:
    """Take answers as evidence; count silence, and back off."""
    # All of them at once and in order: two lots of locks in one transaction could meet another transaction's crosswise.
    take_locks(session, lock(session, [question.payout_id for question, _ in answers]))
    answers = [(question, _about(question, answer)) for question, answer in answers]
    told = [(question, answer) for question, answer in answers if isinstance(answer, PayoutUpdate)]
    evidence = [Evidence(q.integration.id, _named(q, update), Source.POLL) for q, update in told]
    observed = observe(session, evidence, now)
    _send_again(session, told, now)
    silent = {q.payout_id: (q, answer) for q, answer in answers if not isinstance(answer, PayoutUpdate)}
    standings = lock(session, list(silent))
    for standing in standings:
        question, answer = silent[standing.id]
        _ask_later(standing, "not_found" if isinstance(answer, NotFound) else f"unavailable: {answer}", now)
        is_still_so = _is_unconfirmed_still(standing, question)
        if is_still_so and isinstance(answer, NotFound) and question.was_never_received(now):
            standing.submission = SubmissionState.NOT_RECEIVED
    write(session, standings)
    follow(session, standings, now)
    _slow_down(session, answers, now)
    return observed


def not_asked(session: Session, ids: Sequence[str], leased_until: datetime | None, why: str, now: datetime) -> int:
    """Count polls that came to nothing before they left, and back off. Returns how many; `leased_until` as above."""
    standings = [standing for standing in lock(session, ids) if leased_until in (None, standing.next_poll_at)]
    for standing in standings:
        _ask_later(standing, f"unusable: {why}", now)
    write(session, standings)
    follow(session, standings, now)
    return len(standings)


def _ask_later(standing: Standing, failure: str, now: datetime) -> None:
    standing.polls += 1
    standing.poll_step += 1
    standing.poll_failures += 1
    standing.poll_failure = failure[:LONGEST_FAILURE]
    standing.next_poll_at = next_poll_at(standing.status, standing.poll_step, now)


def _send_again(session: Session, told: Sequence[tuple[Question, PayoutUpdate]], now: datetime) -> None:
    """Make unsent again what the gateway has and has not been told to start: it says itself that nothing has moved.

    Its reference is on record by now, so that what is sent again, when it is next due, is the start of the same payout.
    """
    idle = {question.payout_id: question for question, update in told if update.awaits_start and update.reference}
    standings = [one for one in lock(session, list(idle)) if _is_unconfirmed_still(one, idle[one.id])]
    standings = [one for one in standings if not _may_be_on_its_way(one, now)]
    for standing in standings:
        standing.submission = SubmissionState.UNSENT
    write(session, standings)


def _may_be_on_its_way(standing: Standing, now: datetime) -> bool:
    """Tell whether the call that submits it may still run: it may tell the gateway to start in this very moment."""
    begun_at = standing.submitted_at
    return standing.submission == SubmissionState.SENDING and begun_at is not None and now - begun_at < LONGEST_CALL


def _is_unconfirmed_still(standing: Standing, question: Question) -> bool:
    """Tell whether an answer is about how it stands now. While we asked, a webhook may have come, or it left anew."""
    return standing.submission in _UNCONFIRMED and standing.submitted_at == question.submitted_at


def _about(question: Question, answer: Answer) -> Answer:
    """Refuse an answer that speaks of another payout than we asked about: it must not move that one."""
    if isinstance(answer, PayoutUpdate) and question.reference and answer.reference not in (None, question.reference):
        return GatewayUnavailable("answered about another payout")
    return answer


def _named(question: Question, update: PayoutUpdate) -> PayoutUpdate:
    """Tie an answer to the payout it was asked about, whatever names the gateway used in it."""
    return replace(update, order_key=question.order_key)


def _slow_down(session: Session, answers: Sequence[tuple[Question, Answer]], now: datetime) -> None:
    """Stop asking a gateway that told us to wait, until then."""
    pauses: dict[int, datetime] = {}
    for question, answer in answers:
        if isinstance(answer, GatewayUnavailable) and answer.retry_after:
            until = now + min(answer.retry_after, timedelta(hours=1))
            pauses[question.integration.id] = max(until, pauses.get(question.integration.id, until))
    for integration in session.exec(select(Integration).where(col(Integration.id).in_(pauses))):
        until = pauses[integration.id or 0]
        integration.polls_paused_until = max(until, integration.polls_paused_until or until)


_TAKE: Final = text(
    """
    WITH due AS (
        SELECT p.id FROM integration i CROSS JOIN LATERAL (
            SELECT id FROM payout
            WHERE integration_id = i.id AND next_poll_at <= :now AND (:may_submit OR submission <> 'unsent')
            ORDER BY next_poll_at LIMIT :most FOR UPDATE SKIP LOCKED
        ) p
        WHERE i.is_active AND (i.polls_paused_until IS NULL OR i.polls_paused_until <= :now)
    )
    UPDATE payout p SET next_poll_at = :lease FROM due WHERE p.id = due.id
    RETURNING p.id, p.integration_id, p.submission, p.status
    """
)
