"""A payout that is to leave later: scheduled at birth, nobody's to ask about before, handed over when it is due."""

from datetime import UTC, datetime, timedelta

import pytest

from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source, SubmissionState
from payouts.ask import take_due
from payouts.create import Created, NewPayout, create
from payouts.stuck import find_stuck
from payouts.submit import begin
from tests.factories import an_integration, an_organisation, get_events, get_observations, get_payout, say

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
MONDAY = NOW + timedelta(days=6)
MOMENT = timedelta(seconds=1)


def a_scheduled(at: datetime | None = MONDAY) -> Created:
    an_organisation()
    new = NewPayout(
        integration=an_integration().slug,
        organisation="Acme",
        order_key=None,
        amount_minor=10_000,
        currency="EUR",
        scheduled_at=at,
    )
    with transaction() as session:
        return create(session, new, NOW)


def _begins(payout: Payout, at: datetime) -> bool:
    with transaction() as session:
        return begin(session, payout.id, at) is not None


def _due(at: datetime) -> list[str]:
    with transaction() as session:
        return take_due(session, at, 10).to_submit


def test_it_is_scheduled_from_its_first_moment_and_its_partner_hears_of_both() -> None:
    created = a_scheduled()
    payout = get_payout(created.id)

    assert not created.is_due
    assert payout.status == PayoutStatus.SCHEDULED
    assert [(event.sequence, event.status) for event in get_events(payout)] == [(1, "pending"), (2, "scheduled")]
    assert [(said.source, said.said) for said in get_observations(payout)] == [(Source.PARTNER, "scheduled")]


def test_its_partners_word_is_no_evidence_that_a_gateway_has_it() -> None:
    payout = get_payout(a_scheduled().id)

    assert payout.submission == SubmissionState.UNSENT
    assert payout.last_evidence_at is None


def test_it_leaves_when_it_is_due_and_not_a_moment_before() -> None:
    payout = get_payout(a_scheduled().id)

    assert _due(MONDAY - MOMENT) == []
    assert not _begins(payout, MONDAY - MOMENT)
    assert _due(MONDAY) == [payout.id]
    assert _begins(payout, MONDAY)
    assert not _begins(payout, MONDAY)


def test_a_gateway_that_calls_it_pending_does_not_take_it_back() -> None:
    payout = get_payout(a_scheduled().id)
    _begins(payout, MONDAY)

    say(payout, PayoutStatus.PENDING, source=Source.SUBMISSION, reference="gw-1")

    assert get_payout(payout.id).status == PayoutStatus.SCHEDULED
    assert get_payout(payout.id).submission == SubmissionState.ACCEPTED


def test_one_that_only_its_gateway_has_scheduled_is_not_sent_again() -> None:
    payout = get_payout(a_scheduled(None).id)
    say(payout, PayoutStatus.SCHEDULED)
    with transaction() as session:
        session.get_one(Payout, payout.id).submission = SubmissionState.UNSENT

    assert not _begins(payout, MONDAY)


def test_it_is_not_stuck_while_it_waits_for_its_day_but_from_then_on() -> None:
    payout = get_payout(a_scheduled().id)

    def stuck(at: datetime) -> list[str]:
        with transaction() as session:
            return [one.id for one in find_stuck(session, at).stuck]

    assert stuck(MONDAY + timedelta(hours=1)) == []
    assert stuck(MONDAY + timedelta(days=5)) == [payout.id]


def test_a_moment_that_has_passed_is_now() -> None:
    created = a_scheduled(NOW)

    assert created.is_due
    assert _begins(get_payout(created.id), NOW)
