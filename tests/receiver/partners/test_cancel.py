"""DELETE /v1/payouts/{id}: called off here, or at the gateway that has it."""

from collections.abc import Callable, Iterator

import pytest
from sqlmodel import select

from models.audit import AuditLine
from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout, SubmissionState
from tests.concurrency import at_once, wait_until
from tests.factories import a_payout, an_endpoint, get_deliveries, get_payout, say
from tests.receiver.partners.partner import Partner
from tests.sandbox.stand import Stand
from tests.workers.sandboxes import a_quiet_sandbox, an_integration_at, an_unsent_payout, settle
from workers.broker import broker
from workers.outside import outside
from workers.submit import submit

APartner = Callable[..., Partner]


def cancel(partner: Partner, payout: Payout) -> tuple[int, str]:
    answer = partner.ask("DELETE", f"/v1/payouts/{payout.id}")
    return answer.status, answer.json["status"] if answer.status == 200 else answer.code


def test_a_payout_that_has_not_left_is_canceled_and_its_partner_hears_of_it(partner: Partner) -> None:
    an_endpoint()
    payout = a_payout(reference=None)

    assert cancel(partner, payout) == (200, "canceled")

    assert get_payout(payout.id).status == PayoutStatus.CANCELED
    assert len(get_deliveries(payout)) == 2
    with transaction() as session:
        actors = session.exec(select(AuditLine.actor).where(AuditLine.action == "payout.canceled")).all()
    assert [actor.startswith("key:key_") for actor in actors] == [True]


def test_canceling_twice_is_canceling_once(partner: Partner) -> None:
    payout = a_payout(reference=None)

    answers = at_once(*[lambda: cancel(partner, payout)] * 5)

    assert set(answers) == {(200, "canceled")}


@pytest.mark.parametrize("status", [PayoutStatus.INITIATED, PayoutStatus.BROADCAST, PayoutStatus.DELIVERED])
def test_a_payout_that_is_under_way_is_not_cancelable(partner: Partner, status: PayoutStatus) -> None:
    assert cancel(partner, a_payout(status=status)) == (409, "not_cancelable")


@pytest.mark.parametrize("submission", [SubmissionState.SENDING, SubmissionState.UNKNOWN])
def test_a_payout_of_which_nobody_knows_is_not_cancelable(partner: Partner, submission: SubmissionState) -> None:
    assert cancel(partner, a_payout(reference=None, submission=submission)) == (409, "not_cancelable")


def test_what_belongs_to_somebody_else_is_neither_found_nor_canceled(a_partner: APartner) -> None:
    payout = a_payout(reference=None)

    answers = {cancel(a_partner("Other"), payout), cancel(a_partner(test_mode=True), payout)}

    assert answers == {(404, "unknown_payout")}
    assert get_payout(payout.id).status == PayoutStatus.PENDING


@pytest.fixture(scope="module")
def running() -> Iterator[Stand]:
    with a_quiet_sandbox() as stand:
        yield stand
    if opened := outside.forget():
        opened.close()


@pytest.fixture
def stand(running: Stand, database: None) -> Stand:
    settle(running)
    running.behave(speed=0.001)  # nothing moves by itself
    broker.flush_all()
    return running


def an_accepted(stand: Stand) -> Payout:
    payout = an_unsent_payout(an_integration_at(stand, "mollie"))
    submit(payout.id)
    wait_until(lambda: get_payout(payout.id).submission == SubmissionState.ACCEPTED)
    return payout


def test_a_payout_that_waits_at_its_gateway_is_canceled_there(partner: Partner, stand: Stand) -> None:
    payout = an_accepted(stand)

    assert cancel(partner, payout) == (200, "canceled")

    assert [one["fate_status"] for one in stand.truth()] == ["canceled"]


def test_a_gateway_whose_answer_is_lost_leaves_it_unconfirmed(partner: Partner, stand: Stand) -> None:
    payout = an_accepted(stand)
    stand.behave(timeout_after_accept=1)

    assert cancel(partner, payout) == (409, "cancel_unconfirmed")

    say(payout, PayoutStatus.CANCELED)
    assert cancel(partner, payout) == (200, "canceled")
